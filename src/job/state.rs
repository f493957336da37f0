//! The states of a job, what ends an attempt, and what a job waits for.

/// Gives an enum of names its `name`, `from_name` and `ALL`.
macro_rules! named {
    ($(#[$meta:meta])* $what:ident { $($(#[$vmeta:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $what { $($(#[$vmeta])* $variant),+ }

        impl $what {
            /// Every one, in order.
            pub const ALL: &[$what] = &[$($what::$variant),+];

            /// As it is stored and answered.
            pub const fn name(self) -> &'static str {
                match self { $($what::$variant => $name),+ }
            }

            /// The one of that name.
            pub fn from_name(name: &str) -> Option<$what> {
                match name { $($name => Some($what::$variant),)+ _ => None }
            }
        }

        impl serde::Serialize for $what {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl utoipa::PartialSchema for $what {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::String)
                    .enum_values(Some([$($name),+]))
                    .into()
            }
        }

        impl utoipa::ToSchema for $what {}
    };
}

pub(super) use named;

named! {
    /// Where a job is on its road.
    State {
        /// Stored; no attempt is under way.
        Queued = "queued",
        /// Marked: an attempt may be under way.
        Sending = "sending",
        /// Feishu did it.
        Done = "done",
        /// It will not be done; the error says why.
        Failed = "failed",
        /// Its deadline passed before anything was tried with an unknown outcome.
        Expired = "expired",
        /// Somebody took it back, or what it hung on did not happen.
        Canceled = "canceled",
        /// It may have happened; nobody can prove it. A person settles it.
        InDoubt = "in_doubt",
    }
}

impl State {
    /// Ended for good, unless a person retries it.
    pub fn is_settled(self) -> bool {
        matches!(
            self,
            State::Done | State::Failed | State::Expired | State::Canceled
        )
    }

    /// Counts towards `max_pending`, and keeps its lane.
    pub fn is_pending(self) -> bool {
        matches!(self, State::Queued | State::Sending)
    }
}

named! {
    /// How one attempt ended.
    Outcome {
        /// Feishu did it.
        Done = "done",
        /// Feishu said no to this job.
        Refused = "refused",
        /// Not executed: a limit, or something that refuses every job alike.
        Limited = "limited",
        /// Provably never executed.
        NotSent = "not_sent",
        /// It may have happened.
        Unknown = "unknown",
    }
}

named! {
    /// What a queued job waits for.
    WaitingFor {
        /// Its time.
        Schedule = "schedule",
        /// Another job.
        Dependency = "dependency",
        /// The app, one of its calls, or Feishu.
        App = "app",
        /// The delay after an attempt.
        Retry = "retry",
        /// A limit of Feishu.
        Limit = "limit",
        /// The jobs before it in its lane.
        Lane = "lane",
    }
}

named! {
    /// Which jobs go first.
    Priority {
        /// Overtakes.
        High = "high",
        /// The default.
        Normal = "normal",
        /// Gives way, but never starves.
        Low = "low",
    }
}

impl Priority {
    /// Its place in a lane's order. 0 is kept for a job that was tried.
    pub fn rank(self) -> i64 {
        match self {
            Priority::High => 1,
            Priority::Normal => 2,
            Priority::Low => 3,
        }
    }

    /// The priority of that rank; what is out of range counts as normal.
    pub fn from_rank(rank: i64) -> Priority {
        match rank {
            1 => Priority::High,
            3 => Priority::Low,
            _ => Priority::Normal,
        }
    }
}

named! {
    /// What to do with a job whose outcome cannot be known.
    OnDoubt {
        /// Keep it for a person.
        Hold = "hold",
        /// Send it once more, at the risk of a second one.
        Resend = "resend",
        /// End it as failed.
        Drop = "drop",
    }
}

named! {
    /// What to do when Feishu refuses a card for its form.
    OnRefused {
        /// End as failed.
        Fail = "fail",
        /// Send it in a simpler form.
        Degrade = "degrade",
    }
}

named! {
    /// What one job takes from another.
    Role {
        /// Only its end: a child of `then`.
        After = "after",
        /// Its message id.
        Message = "message",
        /// Its batch ids.
        Batch = "batch",
        /// Its image key.
        Image = "image",
        /// Its reaction's id.
        Reaction = "reaction",
        /// The id that it made, whatever it is, wherever the content names the job.
        Value = "value",
    }
}
