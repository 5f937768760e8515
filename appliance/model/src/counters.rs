//! Event counters, each declared once together with its public name.

/// Declares a struct of event counts, with the names under which `weir ctl status` and the metrics show them,
/// so that no counter can be left out there. Fields after `and` are not counts.
#[macro_export]
macro_rules! counters {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$doc:meta])* $field:ident = $shown:literal,)*
        }
        $(and { $($(#[$other_doc:meta])* $other:ident: $type:ty,)* })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$doc])* $vis $field: u64,)*
            $($($(#[$other_doc])* $vis $other: $type,)*)?
        }

        impl $name {
            /// All counts with their public names.
            $vis fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$(($shown, self.$field)),*].into_iter()
            }
        }
    };
}

#[cfg(test)]
mod tests {
    counters! {
        /// An example.
        struct Example {
            /// Arrivals.
            came = "guests_came",
            /// Departures.
            went = "guests_went",
        }
        and {
            /// Not a count.
            house: [u8; 2],
        }
    }

    #[test]
    fn every_count_is_shown_by_its_name() {
        let example = Example { came: 3, went: 2, house: *b"my" };
        assert_eq!(example.named().collect::<Vec<_>>(), [("guests_came", 3), ("guests_went", 2)]);
        assert_eq!(Example::default().named().map(|(_, count)| count).sum::<u64>(), 0);
    }
}
