//! What all connections of one sandbox share: the world, the faults, the journal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::faults::Faults;
use crate::journal::Journal;
use crate::world::World;

/// The inside of a running sandbox.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    faults: Mutex<Faults>,
    journal: Option<Journal>,
    closed: AtomicBool,
}

impl Shared {
    pub(crate) fn new(world: World, journal: Option<Journal>) -> Self {
        Self {
            world: Mutex::new(world),
            faults: Mutex::default(),
            journal,
            closed: AtomicBool::new(false),
        }
    }

    /// Notes that the sandbox has stopped: calls that still wait are not executed any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether the sandbox has stopped.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The world, for as long as the guard lives; never held across a wait.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rules of faults.
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what changed in `world`.
    pub(crate) fn journal(&self, world: &mut World) {
        let touched = world.take_touched();
        if let Some(journal) = &self.journal
            && let Err(error) =
                (journal.set_beside(world, &touched)).and_then(|()| journal.append(world, &touched))
        {
            tracing::error!(%error, "the sandbox can not write its state file");
        }
    }
}
