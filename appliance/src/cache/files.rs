//! Static files as stored responses, found by one hash lookup, with heads rendered in advance.

use crate::http::Fields;
use crate::table::{NameHash, Table};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use model::bundle::{Bundle, File};
use model::date;

/// The file served for a directory.
const INDEX: &str = "index.html";

/// A representation with a prepared head. See [`super::serve::file`].
#[derive(Clone, Debug)]
pub struct StoredResponse<'a> {
    content: &'a [u8],
    /// Status line, Content-Length, Content-Type, Accept-Ranges, ETag, Last-Modified: the head of a 200
    /// except for Date and connection-specific fields.
    head: Box<str>,
    /// Offset of Content-Type in `head`.
    metadata: usize,
    /// Offset of ETag in `head`.
    validators: usize,
    etag: Box<str>,
    last_modified: u64,
}

impl<'a> StoredResponse<'a> {
    fn new(file: &File, content: &'a [u8]) -> Self {
        let mut head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", content.len());
        let metadata = head.len();
        head += &format!("Content-Type: {}\r\nAccept-Ranges: bytes\r\n", field_value(&file.media_type));
        let validators = head.len();
        let etag = field_value(&file.etag);
        let modified = date::format(file.last_modified);
        let modified = core::str::from_utf8(&modified).unwrap_or_default();
        head += &format!("ETag: {etag}\r\nLast-Modified: {modified}\r\n");
        Self {
            content,
            head: head.into(),
            metadata,
            validators,
            etag: etag.into(),
            last_modified: file.last_modified,
        }
    }

    /// The content.
    #[inline]
    pub fn content(&self) -> &'a [u8] {
        self.content
    }

    /// The head of a 200, up to where Date goes.
    #[inline]
    pub fn head(&self) -> &[u8] {
        self.head.as_bytes()
    }

    /// Field lines that describe the representation: Content-Type, Accept-Ranges, ETag, Last-Modified.
    pub fn metadata(&self) -> Fields<'_> {
        Fields::prepared(self.head.as_bytes().get(self.metadata..).unwrap_or_default())
    }

    /// The field lines ETag and Last-Modified.
    pub fn validators(&self) -> Fields<'_> {
        Fields::prepared(self.head.as_bytes().get(self.validators..).unwrap_or_default())
    }

    /// Strong entity tag with quotes.
    pub fn etag(&self) -> &[u8] {
        self.etag.as_bytes()
    }

    /// Seconds since 1970-01-01 UTC.
    pub fn last_modified(&self) -> u64 {
        self.last_modified
    }
}

/// Drops characters that could break a head apart, although the bundle was checked when it was made.
fn field_value(value: &str) -> String {
    value.chars().filter(|c| matches!(c, ' '..='~')).collect()
}

/// Result of a lookup.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'s, 'a> {
    /// A file, or a directory's `index.html`.
    Found(&'s StoredResponse<'a>),
    /// A directory with an `index.html`, requested without its trailing slash: redirect.
    Directory,
    /// Nothing.
    NotFound,
}

#[derive(Clone, Debug)]
struct Name {
    tree: u16,
    /// Path below the prefix with its leading slash; empty for the root of a tree without it.
    path: Box<str>,
    /// `None`: a directory without its trailing slash.
    file: Option<usize>,
}

/// All static files of a bundle.
///
/// Each name under which a file can be requested (the file, the directory, the directory without its slash)
/// has an entry in one hash table, so a lookup costs one hash and, nearly always, one comparison.
#[derive(Clone, Debug)]
pub struct StaticStore<'a> {
    files: Vec<StoredResponse<'a>>,
    names: Table<Name>,
}

impl<'a> StaticStore<'a> {
    /// Renders the heads of all files of a bundle. Leaves out files with offsets outside the bundle.
    pub fn new(bundle: &Bundle<'a>) -> Self {
        let mut files = Vec::new();
        let mut names = Vec::new();
        let mut directories = Vec::new();
        for file in &bundle.manifest.files {
            let Some(content) = bundle.content(file) else { continue };
            let index = files.len();
            files.push(StoredResponse::new(file, content));
            let path = format!("/{}", file.path);
            if let Some(directory) = path.strip_suffix(INDEX)
                && directory.ends_with('/')
            {
                let without_slash = directory.strip_suffix('/').unwrap_or(directory);
                directories.push(Name { tree: file.tree, path: directory.into(), file: Some(index) });
                directories.push(Name { tree: file.tree, path: without_slash.into(), file: None });
            }
            names.push(Name { tree: file.tree, path: path.into(), file: Some(index) });
        }
        // Files come first, so that they win where names collide.
        names.append(&mut directories);
        let mut store = Self { files, names: Table::default() };
        for name in names {
            let hash = hash(name.tree, &name.path);
            if store.find(hash, name.tree, &name.path).is_none() {
                store.names.insert(hash, name);
            }
        }
        store
    }

    /// Finds a file. `rest`: the path below the prefix with its leading slash, or empty. Case-sensitive.
    pub fn lookup(&self, tree: u16, rest: &str) -> Lookup<'_, 'a> {
        match self.find(hash(tree, rest), tree, rest) {
            None => Lookup::NotFound,
            Some(Name { file: None, .. }) => Lookup::Directory,
            Some(&Name { file: Some(index), .. }) => {
                self.files.get(index).map_or(Lookup::NotFound, Lookup::Found)
            }
        }
    }

    #[inline]
    fn find(&self, hash: u64, tree: u16, path: &str) -> Option<&Name> {
        let found = self.names.find(hash, |name| name.tree == tree && *name.path == *path)?;
        self.names.get(found)
    }

    /// The number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

#[inline]
fn hash(tree: u16, path: &str) -> u64 {
    let mut hash = NameHash::new(u64::from(tree));
    hash.exact(path.as_bytes());
    hash.finish()
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
