//! Args of what a custom bot of a group says. Whether the config names the bot is asked in `submit`.

use feishu_im::HookContent;
use serde_json::json;

use crate::job::args::{Parsed, Reader};
use crate::job::fields::Flaw;

impl Reader<'_> {
    pub(super) fn webhook(mut self) -> Result<Parsed, Vec<Flaw>> {
        self.bot();
        self.content(|content| HookContent::from_args(content).err());
        self.done(Vec::new(), None)
    }

    pub(super) fn bot(&mut self) {
        match self.fields.get("bot").map(|bot| bot.as_str()) {
            Some(Some(bot)) => {
                self.out.insert("bot".into(), json!(bot));
                self.to = Some(bot.to_owned());
            }
            Some(None) => self.fields.flaw("bot", "must be a string"),
            None => {
                let detail = "is missing: the name of one of the [[bots]] of the config";
                self.fields.flaw("bot", detail);
            }
        }
    }
}
