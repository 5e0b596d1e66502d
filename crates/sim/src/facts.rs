//! Counts with names: what went wrong in runs by intention, and which code that led through.

use std::fmt;

/// What a run counts.
pub trait Counts: Clone + fmt::Debug + Default + fmt::Display + Send {
    /// Adds another run's counts.
    fn add(&mut self, other: &Self);

    /// Virtual milliseconds.
    fn millis(&self) -> u64;
}

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often what happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Facts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Facts {
            /// Every count with its name, in words.
            #[must_use]
            pub fn list(&self) -> Vec<(String, u64)> {
                vec![$((stringify!($name).replace('_', " "), self.$name),)*]
            }
        }

        impl $crate::facts::Counts for Facts {
            fn add(&mut self, other: &Facts) {
                $(self.$name += other.$name;)*
            }

            fn millis(&self) -> u64 {
                self.millis
            }
        }

        impl std::fmt::Display for Facts {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let shown = self.list().into_iter().filter(|(_, count)| *count > 0);
                for (nth, (name, count)) in shown.enumerate() {
                    write!(f, "{}{name} {count}", if nth == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    };
}

pub(crate) use facts;
