//! Static files as stored responses: found by one hash lookup, their heads rendered once.

use crate::bundle::Bundle;
use core::marker::PhantomData;

/// A representation with its head ready to copy. See [`crate::http::serve::plan`].
#[derive(Clone, Debug)]
pub struct StoredResponse<'a> {
    content: &'a [u8],
}

impl<'a> StoredResponse<'a> {
    /// The content.
    pub fn content(&self) -> &'a [u8] {
        self.content
    }
}

/// What a path names.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'s, 'a> {
    /// A file, or a directory's `index.html`.
    Found(&'s StoredResponse<'a>),
    /// A directory with an `index.html`, named without the slash at its end: redirect.
    Directory,
    /// Nothing.
    NotFound,
}

/// All static files of a bundle.
#[derive(Clone, Debug)]
pub struct StaticStore<'a> {
    marker: PhantomData<&'a [u8]>,
}

impl<'a> StaticStore<'a> {
    /// Renders the heads of all files of a bundle.
    pub fn new(bundle: &Bundle<'a>) -> Self {
        todo!("{bundle:?}")
    }

    /// Finds a file. `rest` is [`crate::site::Match::rest`]: the path below the prefix with its leading slash, or
    /// empty. Names are case-sensitive.
    pub fn lookup(&self, tree: u16, rest: &str) -> Lookup<'_, 'a> {
        todo!("{tree} {rest}")
    }
}
