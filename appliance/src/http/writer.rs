//! Writes generated responses: a head in the client's protocol, and short content behind it.

use super::{DataFraming, Encode, Fields, Overflow, Reply, Sink};
use model::date::DateCache;

/// Writes one response into a buffer, using an encoder.
pub struct ResponseWriter<'p, E> {
    encoder: &'p mut E,
    date: &'p DateCache,
    site: Fields<'p>,
    out: Sink<'p>,
    status: u16,
}

impl<'p, E: Encode> ResponseWriter<'p, E> {
    /// A writer over an empty buffer.
    pub fn new(encoder: &'p mut E, date: &'p DateCache, out: &'p mut [u8]) -> Self {
        Self { encoder, date, site: Fields::NONE, out: Sink::new(out), status: 0 }
    }

    /// Sets the fields that the site adds to all of its responses.
    pub fn add_site_fields(&mut self, fields: Fields<'p>) {
        self.site = fields;
    }

    /// Writes a head.
    ///
    /// # Errors
    /// [`Overflow`] if the head does not fit.
    pub fn head(&mut self, reply: &Reply<'_>) -> Result<(), Overflow> {
        self.status = reply.status;
        self.encoder.head(&reply.add_site_fields(self.site), self.date, &mut self.out)
    }

    /// Writes a head and all content, given in parts. Omits the content if the request was HEAD.
    ///
    /// # Errors
    /// [`Overflow`] if they do not fit.
    pub fn whole(&mut self, reply: &Reply<'_>, content: &[&[u8]]) -> Result<(), Overflow> {
        self.head(reply)?;
        if self.encoder.is_head_request() {
            return Ok(());
        }
        let around: DataFraming = self.encoder.data(content.iter().map(|part| part.len()).sum(), true);
        self.out.put(around.before())?;
        content.iter().try_for_each(|part| self.out.put(part))?;
        self.out.put(around.after)
    }

    /// Notes that the rest of the request content will not be read: see [`Encode::content_unread`].
    pub fn content_unread(&mut self) {
        self.encoder.content_unread();
    }

    /// Number of bytes written so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Status of the last head written, 0 if none.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The current time in seconds since 1970-01-01 UTC.
    pub fn unix(&self) -> u64 {
        self.date.unix()
    }
}
