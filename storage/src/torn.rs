//! Tells a write that a crash cut short from bytes that rotted later.
//!
//! A disk writes whole sectors. So of an interrupted write some sectors are on disk and the others still hold what
//! was there before, which in a fresh part of a file is zeros, or lies past the end of the file. Damage that shows
//! neither is rot.

pub(crate) const SECTOR_BYTES: usize = 512;

/// Whether some sector's part of `extent`, which starts at `offset` in its file, was never written.
pub(crate) fn has_unwritten_sector(extent: &[u8], offset: usize) -> bool {
    let first = SECTOR_BYTES - offset % SECTOR_BYTES;
    let (head, rest) = extent.split_at_checked(first).unwrap_or((extent, &[]));
    std::iter::once(head).chain(rest.chunks(SECTOR_BYTES)).any(is_zero_piece)
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

fn is_zero_piece(piece: &[u8]) -> bool {
    !piece.is_empty() && is_zero(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_of_zeros_is_seen_wherever_it_lies() {
        let mut extent = vec![7u8; 2_000];
        assert!(!has_unwritten_sector(&extent, 100));
        extent[412..412 + 512].fill(0);
        assert!(has_unwritten_sector(&extent, 100), "the second sector's part");
        assert!(!has_unwritten_sector(&extent, 0), "across two sectors, neither whole");
    }

    #[test]
    fn the_parts_at_both_ends_count() {
        let mut extent = vec![7u8; 700];
        extent[..12].fill(0);
        assert!(has_unwritten_sector(&extent, 500));
        let mut extent = vec![7u8; 700];
        extent[512..].fill(0);
        assert!(has_unwritten_sector(&extent, 0));
        assert!(!has_unwritten_sector(&[], 0));
    }
}
