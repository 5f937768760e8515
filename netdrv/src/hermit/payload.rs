//! The bundle attached to this program's ELF by the image builder.
//!
//! The builder adds a segment after the program's own and writes its position into [`MARKER`], which it finds by its magic.
//! Nothing is linked again, so changing the configuration needs no build.

/// Position of the payload. The builder (`image::payload`) knows this layout: 16 bytes of magic, then two 64-bit little-endian
/// integers.
#[repr(C)]
struct Marker {
    magic: [u8; 16],
    /// Relative to the start of the marker: the loader chooses the address, but keeps the distances between segments.
    offset: i64,
    /// Length in bytes; 0 if nothing is attached.
    len: u64,
}

/// In a writable section: the builder changes it after linking, so its initial value must not be assumed.
#[used]
#[unsafe(link_section = ".data.weir_payload")]
static MARKER: Marker = Marker { magic: *b"\x7fWEIR-PAYLOAD-1\n", offset: 0, len: 0 };

/// The payload; `None` if nothing is attached.
pub fn payload() -> Option<&'static [u8]> {
    let marker = &raw const MARKER;
    // SAFETY: a static is always valid to read; volatile, because the builder has changed it since it was compiled.
    let Marker { magic: _, offset, len } = unsafe { marker.read_volatile() };
    let len = usize::try_from(len).ok().filter(|&len| len > 0)?;
    let start = marker.cast::<u8>().wrapping_offset(isize::try_from(offset).ok()?);
    // The payload is not part of `MARKER`: its provenance comes from the loader, which mapped the segment.
    let start = core::ptr::with_exposed_provenance::<u8>(start.addr());
    // SAFETY: a marker with a length was written by the builder together with a read-only segment of that length at
    // that distance; the loader has mapped both for the life of the program and nothing writes there.
    Some(unsafe { core::slice::from_raw_parts(start, len) })
}
