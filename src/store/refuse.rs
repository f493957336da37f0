//! The answer to everybody whose batch was not written.

use crate::store::StoreError;
use crate::store::health::Failure;
use crate::store::writer::Request;

/// Nothing of the batch was written: everybody hears why.
pub(super) fn refuse(batch: Vec<Request>, why: &Failure) {
    let error = || StoreError::Unavailable(why.clone());
    for request in batch {
        match request {
            Request::Attach(_, to)
            | Request::AskReads(_, to)
            | Request::Finish(_, to)
            | Request::TakeBack(_, to)
            | Request::Pauses(_, to) => drop(to.send(Err(error()))),
            // It is in memory only, and was done before the file was touched.
            Request::Tune(_, to) => drop(to.send(Ok(()))),
            Request::Steer(_, _, to) => drop(to.send(Err(error().into()))),
            Request::Accept(_, to) => drop(to.send(Err(error().into()))),
            Request::Mark(_, to) => drop(to.send(Err(error()))),
            Request::Act(_, _, _, to) => drop(to.send(Err(error().into()))),
            Request::Incidents(_, to) => drop(to.send(Err(error().into()))),
            Request::AskProgress(_, to)
            | Request::AskDoubt(_, to)
            | Request::Sweep(to)
            | Request::Month(_, to) => drop(to.send(Err(error()))),
        }
    }
}
