//! Reads of the relay's own that see whether Feishu is back, for kinds that cannot be repeated: when one is made,
//! and what follows from its answer.
//! Not here: the read itself (`month::look`).

use feishu_im::Repeat;

use super::Core;
use crate::dispatch::breaker::Gate;

impl Core {
    /// Places from which such a read is to be made now, one for each base URL at most: somebody waits for it to be
    /// answered. It is under way until `looked`.
    pub(in crate::dispatch) fn reads_wanted(&mut self, steady_ms: i64) -> Vec<usize> {
        let mut places = Vec::new();
        for group in self.lanes.groups() {
            if group.1.endpoint().repeat != Repeat::Dup {
                continue;
            }
            let base = self.places[group.0].base;
            let api = self
                .api_breakers
                .get_mut(&group)
                .map_or(Gate::Open, |breaker| breaker.allows(true, steady_ms));
            if api == Gate::AfterRead
                || self.base_breakers[base].allows(true, steady_ms) == Gate::AfterRead
            {
                places.push(group.0);
            }
        }
        places.sort_unstable();
        places.retain(|place| self.looks[self.places[*place].base].begin(steady_ms));
        places
    }

    /// A read of no job, to see whether Feishu is back, was answered or not; it counts or not.
    pub(in crate::dispatch) fn looked(
        &mut self,
        place: usize,
        ok: bool,
        counted: bool,
        steady_ms: i64,
    ) {
        if counted {
            self.month_counted(place, 1);
        }
        self.looks[self.places[place].base].ended(ok, steady_ms);
        if ok {
            self.read_ok(place);
        }
    }

    /// A read was answered on the base URL of this place.
    pub(super) fn read_ok(&mut self, place: usize) {
        let base = self.places[place].base;
        self.base_breakers[base].read_ok();
        for (group, breaker) in &mut self.api_breakers {
            if self.places[group.0].base == base {
                breaker.read_ok();
            }
        }
        self.closed.clear();
    }
}
