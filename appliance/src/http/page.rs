//! One response of our own being written: heads by the client's protocol, content behind them where it is short.

use super::{Around, Encode, Fields, Overflow, Reply, Sink};
use model::date::DateCache;

/// Where a response is written, and by which encoder.
pub struct Page<'p, E> {
    encoder: &'p mut E,
    date: &'p DateCache,
    site: Fields<'p>,
    out: Sink<'p>,
    status: u16,
}

impl<'p, E: Encode> Page<'p, E> {
    /// An empty page over a buffer.
    pub fn new(encoder: &'p mut E, date: &'p DateCache, out: &'p mut [u8]) -> Self {
        Self { encoder, date, site: Fields::NONE, out: Sink::new(out), status: 0 }
    }

    /// What the site says with each of its responses.
    pub fn of_site(&mut self, fields: Fields<'p>) {
        self.site = fields;
    }

    /// Writes a head.
    ///
    /// # Errors
    /// [`Overflow`] if there is no room for it.
    pub fn head(&mut self, reply: &Reply<'_>) -> Result<(), Overflow> {
        self.status = reply.status;
        self.encoder.head(&reply.of_site(self.site), self.date, &mut self.out)
    }

    /// Writes a head and all content, given in parts; none of it if the request was HEAD.
    ///
    /// # Errors
    /// [`Overflow`] if there is no room for them.
    pub fn whole(&mut self, reply: &Reply<'_>, content: &[&[u8]]) -> Result<(), Overflow> {
        self.head(reply)?;
        if self.encoder.is_to_head() {
            return Ok(());
        }
        let around: Around = self.encoder.data(content.iter().map(|part| part.len()).sum(), true);
        self.out.put(around.before())?;
        content.iter().try_for_each(|part| self.out.put(part))?;
        self.out.put(around.after)
    }

    /// The rest of the request's content will not be read: see [`Encode::content_unread`].
    pub fn content_unread(&mut self) {
        self.encoder.content_unread();
    }

    /// What is written so far, in bytes.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Status of the last head that was written, 0 if there is none.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Now, in seconds since 1970-01-01 UTC.
    pub fn unix(&self) -> u64 {
        self.date.unix()
    }
}
