//! Intrusive queues through a table: O(1) at both ends and for removal from the middle, without allocation.

/// No neighbour.
pub(super) const NONE: u32 = u32::MAX;

/// Neighbours in the one queue that a member may be in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    next: u32,
    previous: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { next: NONE, previous: NONE }
    }
}

/// A member of a [`List`].
pub(super) trait Linked {
    fn links(&mut self) -> &mut Links;
}

/// First and last member of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl Default for List {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl List {
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE };

    pub(super) const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// The first member.
    pub(super) fn first(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// Appends a member, which must not be in any queue.
    pub(super) fn push<T: Linked>(&mut self, id: u32, table: &mut [T]) {
        let Some(member) = table.get_mut(id as usize) else { return };
        *member.links() = Links { next: NONE, previous: self.tail };
        match table.get_mut(self.tail as usize) {
            Some(last) if self.tail != NONE => last.links().next = id,
            _ => self.head = id,
        }
        self.tail = id;
    }

    /// Moves a member of this queue to the end.
    #[inline]
    pub(super) fn move_back<T: Linked>(&mut self, id: u32, table: &mut [T]) {
        if self.tail != id {
            self.remove(id, table);
            self.push(id, table);
        }
    }

    /// Removes a member of this queue.
    pub(super) fn remove<T: Linked>(&mut self, id: u32, table: &mut [T]) {
        let Some(member) = table.get_mut(id as usize) else { return };
        let Links { next, previous } = core::mem::take(member.links());
        match table.get_mut(previous as usize) {
            Some(neighbour) if previous != NONE => neighbour.links().next = next,
            _ => self.head = next,
        }
        match table.get_mut(next as usize) {
            Some(neighbour) if next != NONE => neighbour.links().previous = previous,
            _ => self.tail = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Linked for Links {
        fn links(&mut self) -> &mut Links {
            self
        }
    }

    proptest! {
        #[test]
        fn as_a_deque(steps in proptest::collection::vec(0..12_u32, 1..300)) {
            let (mut list, mut table, mut model) = (List::default(), [Links::default(); 12], Vec::new());
            for id in steps {
                match model.iter().position(|&other| other == id) {
                    Some(at) => {
                        list.remove(id, &mut table);
                        model.remove(at);
                    }
                    None => {
                        list.push(id, &mut table);
                        model.push(id);
                    }
                }
                let mut walked = Vec::new();
                let mut at = list.first();
                while let Some(id) = at {
                    walked.push(id);
                    at = Some(table[id as usize].next).filter(|&next| next != NONE);
                }
                prop_assert_eq!(&walked, &model);
            }
        }
    }
}
