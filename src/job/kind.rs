//! The kinds of jobs, as a table: what each calls, needs and makes, and in which lane it stands.

use feishu_im::Api;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A message to one receiver.
    Send,
    /// A message to many people, in parts of 200 a list.
    BatchSend,
    /// A buzz in the app.
    UrgentApp,
    /// A buzz by SMS.
    UrgentSms,
    /// A buzz by telephone.
    UrgentPhone,
    /// Pins a message in its chat.
    Pin,
    /// Takes a pin away.
    Unpin,
    /// Takes a message back.
    Recall,
    /// Takes a batch back.
    BatchRecall,
    /// Brings an image to Feishu.
    UploadImage,
    /// Brings a file to Feishu.
    UploadFile,
    /// A message that answers another.
    Reply,
    /// Another text, or another post, in the place of one that was sent.
    Edit,
    /// Sends a message on.
    Forward,
    /// Sends several messages on, as one.
    MergeForward,
    /// Sends a thread on.
    ForwardThread,
    /// Bubbles to tap, under the newest message of a one-to-one chat.
    FollowUp,
    /// Adds a reaction of the bot.
    React,
    /// Takes it away.
    Unreact,
    /// Another card in the place of one that was sent.
    UpdateCard,
    /// The same, by the token of a click.
    DelayUpdateCard,
    /// A card that one member of a group sees.
    SendEphemeral,
    /// Takes such a card away.
    DeleteEphemeral,
    /// Has clients fetch the previews of links anew.
    UpdateUrlPreviews,
    /// A message that a custom bot of a group says.
    Webhook,
    /// The relay's own: asks how far a batch is, until the counts are stable.
    BatchProgress,
    /// The relay's own: asks who read a message, page by page, as often as its producer wants.
    ReadUsers,
    /// The relay's own: asks how many read a batch.
    BatchReadUser,
    /// The relay's own: looks in a chat's history for a message that may have been sent.
    History,
}

/// What another job, or the producer, must name for a job of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A message (`om_…`).
    Message,
    /// A batch (`bm-…`).
    Batch,
    /// A card for one member (`om_…`).
    Ephemeral,
}

/// What a job of this kind leaves for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Makes {
    /// Nothing that can be named.
    Nothing,
    /// A message id.
    Message,
    /// One or more batch ids.
    Batch,
    /// An image key.
    Image,
    /// A file key.
    File,
    /// A reaction's id.
    Reaction,
    /// The id of a card for one member: of the form of a message's, and good for nothing but its deletion.
    Ephemeral,
}

/// Which lane a job of this kind stands in when the producer names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneRule {
    /// Its receiver, as written.
    Receiver,
    /// The message that it acts on.
    Message,
    /// The receiver of the message that it acts on, where that is known; else the message.
    MessageReceiver,
    /// None: it stands alone.
    Alone,
}

struct Row {
    kind: Kind,
    name: &'static str,
    api: Api,
    needs: Needs,
    makes: Makes,
    lane: LaneRule,
    public: bool,
}

const fn row(
    kind: Kind,
    name: &'static str,
    api: Api,
    needs: Needs,
    makes: Makes,
    lane: LaneRule,
) -> Row {
    Row {
        kind,
        name,
        api,
        needs,
        makes,
        lane,
        public: true,
    }
}

/// In the order of the enum, so that a kind finds its row by its number.
const TABLE: [Row; 29] = [
    row(
        Kind::Send,
        "send",
        Api::SendMessage,
        Needs::Nothing,
        Makes::Message,
        LaneRule::Receiver,
    ),
    row(
        Kind::BatchSend,
        "batch_send",
        Api::BatchSend,
        Needs::Nothing,
        Makes::Batch,
        LaneRule::Alone,
    ),
    row(
        Kind::UrgentApp,
        "urgent_app",
        Api::UrgentApp,
        Needs::Message,
        Makes::Nothing,
        LaneRule::Message,
    ),
    row(
        Kind::UrgentSms,
        "urgent_sms",
        Api::UrgentSms,
        Needs::Message,
        Makes::Nothing,
        LaneRule::Message,
    ),
    row(
        Kind::UrgentPhone,
        "urgent_phone",
        Api::UrgentPhone,
        Needs::Message,
        Makes::Nothing,
        LaneRule::Message,
    ),
    row(
        Kind::Pin,
        "pin",
        Api::Pin,
        Needs::Message,
        Makes::Nothing,
        LaneRule::Message,
    ),
    row(
        Kind::Unpin,
        "unpin",
        Api::Unpin,
        Needs::Message,
        Makes::Nothing,
        LaneRule::Message,
    ),
    row(
        Kind::Recall,
        "recall",
        Api::Recall,
        Needs::Message,
        Makes::Nothing,
        LaneRule::Message,
    ),
    row(
        Kind::BatchRecall,
        "batch_recall",
        Api::BatchRecall,
        Needs::Batch,
        Makes::Nothing,
        LaneRule::Alone,
    ),
    row(
        Kind::UploadImage,
        "upload_image",
        Api::UploadImage,
        Needs::Nothing,
        Makes::Image,
        LaneRule::Alone,
    ),
    row(
        Kind::UploadFile,
        "upload_file",
        Api::UploadFile,
        Needs::Nothing,
        Makes::File,
        LaneRule::Alone,
    ),
    row(
        Kind::Reply,
        "reply",
        Api::Reply,
        Needs::Message,
        Makes::Message,
        LaneRule::Message,
    ),
    row(
        Kind::Edit,
        "edit",
        Api::Edit,
        Needs::Message,
        Makes::Nothing,
        LaneRule::Message,
    ),
    row(
        Kind::Forward,
        "forward",
        Api::Forward,
        Needs::Message,
        Makes::Message,
        LaneRule::Receiver,
    ),
    row(
        Kind::MergeForward,
        "merge_forward",
        Api::MergeForward,
        Needs::Nothing,
        Makes::Message,
        LaneRule::Receiver,
    ),
    row(
        Kind::ForwardThread,
        "forward_thread",
        Api::ForwardThread,
        Needs::Nothing,
        Makes::Message,
        LaneRule::Receiver,
    ),
    row(
        Kind::FollowUp,
        "follow_up",
        Api::FollowUp,
        Needs::Message,
        Makes::Nothing,
        LaneRule::MessageReceiver,
    ),
    row(
        Kind::React,
        "react",
        Api::React,
        Needs::Message,
        Makes::Reaction,
        LaneRule::Message,
    ),
    row(
        Kind::Unreact,
        "unreact",
        Api::Unreact,
        Needs::Message,
        Makes::Nothing,
        LaneRule::Message,
    ),
    row(
        Kind::UpdateCard,
        "update_card",
        Api::UpdateCard,
        Needs::Message,
        Makes::Nothing,
        LaneRule::Message,
    ),
    row(
        Kind::DelayUpdateCard,
        "delay_update_card",
        Api::DelayUpdateCard,
        Needs::Nothing,
        Makes::Nothing,
        LaneRule::Alone,
    ),
    row(
        Kind::SendEphemeral,
        "send_ephemeral",
        Api::SendEphemeral,
        Needs::Nothing,
        Makes::Ephemeral,
        LaneRule::Receiver,
    ),
    row(
        Kind::DeleteEphemeral,
        "delete_ephemeral",
        Api::DeleteEphemeral,
        Needs::Ephemeral,
        Makes::Nothing,
        LaneRule::Message,
    ),
    row(
        Kind::UpdateUrlPreviews,
        "update_url_previews",
        Api::UpdateUrlPreviews,
        Needs::Nothing,
        Makes::Nothing,
        LaneRule::Alone,
    ),
    row(
        Kind::Webhook,
        "webhook",
        Api::Webhook,
        Needs::Nothing,
        Makes::Nothing,
        LaneRule::Receiver,
    ),
    Row {
        public: false,
        ..row(
            Kind::BatchProgress,
            "batch_progress",
            Api::BatchProgress,
            Needs::Batch,
            Makes::Nothing,
            LaneRule::Alone,
        )
    },
    Row {
        public: false,
        ..row(
            Kind::ReadUsers,
            "read_users",
            Api::ReadUsers,
            Needs::Message,
            Makes::Nothing,
            LaneRule::Alone,
        )
    },
    Row {
        public: false,
        ..row(
            Kind::BatchReadUser,
            "batch_read_user",
            Api::BatchReadUser,
            Needs::Batch,
            Makes::Nothing,
            LaneRule::Alone,
        )
    },
    Row {
        public: false,
        ..row(
            Kind::History,
            "history",
            Api::ListMessages,
            Needs::Nothing,
            Makes::Nothing,
            LaneRule::Alone,
        )
    },
];

impl Makes {
    /// As it is called towards people.
    pub fn name(self) -> &'static str {
        match self {
            Makes::Nothing => "nothing",
            Makes::Message => "message",
            Makes::Batch => "batch",
            Makes::Image => "image",
            Makes::File => "file",
            Makes::Reaction => "reaction",
            Makes::Ephemeral => "card for one member",
        }
    }
}

impl Kind {
    /// Every kind, in the order of the table.
    pub fn all() -> impl Iterator<Item = Kind> {
        TABLE.iter().map(|row| row.kind)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// As it stands in a request.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The kind of that name, the relay's own kinds included.
    pub fn from_name(name: &str) -> Option<Kind> {
        TABLE
            .iter()
            .find(|row| row.name == name)
            .map(|row| row.kind)
    }

    /// May a producer ask for it?
    pub fn is_public(self) -> bool {
        self.row().public
    }

    /// The call that performs it.
    pub fn api(self) -> Api {
        self.row().api
    }

    /// The kind that this call performs; none has a call in common with another.
    pub fn of_call(name: &str) -> Option<Kind> {
        Kind::all().find(|kind| kind.api().name() == name)
    }

    /// What must be named for it.
    pub fn needs(self) -> Needs {
        self.row().needs
    }

    /// What it leaves for others.
    pub fn makes(self) -> Makes {
        self.row().makes
    }

    /// Its lane when none is named.
    pub fn lane(self) -> LaneRule {
        self.row().lane
    }

    /// Brings bytes to Feishu, which are kept beside the database as long as it needs them?
    pub fn brings_bytes(self) -> bool {
        matches!(self, Kind::UploadImage | Kind::UploadFile)
    }

    /// Asks who, or how many, read something?
    pub fn asks_reads(self) -> bool {
        matches!(self, Kind::ReadUsers | Kind::BatchReadUser)
    }

    /// Of several on one message that were not tried yet, only the newest is sent.
    pub fn folds(self) -> bool {
        matches!(self, Kind::Edit | Kind::UpdateCard)
    }

    /// A buzz: rings somebody, and cannot be taken back.
    pub fn is_urgent(self) -> bool {
        matches!(self, Kind::UrgentApp | Kind::UrgentSms | Kind::UrgentPhone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pause by hand of a kind is kept under its call.
    #[test]
    fn no_two_kinds_share_a_call() {
        let calls: std::collections::HashSet<_> =
            Kind::all().map(|kind| kind.api().name()).collect();
        assert_eq!(calls.len(), Kind::all().count());
    }

    #[test]
    fn every_kind_finds_its_own_row_by_number_and_by_name() {
        for kind in Kind::all() {
            assert_eq!(kind.row().kind, kind);
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::from_name("shout"), None);
    }
}
