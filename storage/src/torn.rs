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

/// Whether some sector was never written that damage reaches into, which begins at `from` in `file` and ends at `to`, where
/// something whole begins. What lies before `from` in the first such sector is older.
pub(crate) fn lacks_sector(file: &[u8], from: usize, to: usize) -> bool {
    let first = from.next_multiple_of(SECTOR_BYTES);
    let is_unwritten = |range: std::ops::Range<usize>| file.get(range).is_some_and(is_zero);
    // What is whole may begin with zeros, and so within a sector that is not there.
    (first >= from.saturating_add(HEAD_BYTES_MIN) && is_unwritten(from..first))
        || (first..to).step_by(SECTOR_BYTES).any(|at| is_unwritten(at..at.saturating_add(SECTOR_BYTES)))
}

/// Fewer zeros may be what was written: a record begins with three.
const HEAD_BYTES_MIN: usize = 4;

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

    #[test]
    fn before_something_whole_only_sectors_that_are_missing_altogether_count() {
        let mut file = vec![7u8; 2_600];
        assert!(!lacks_sector(&file, 100, 1_700));
        file[1_536..1_700].fill(0);
        assert!(!lacks_sector(&file, 100, 1_700), "a part of the last sector");
        file[1_536..2_048].fill(0);
        assert!(lacks_sector(&file, 100, 2_045), "three zeros begin what is whole");
        assert!(!lacks_sector(&file, 100, 1_536), "it lies behind");
    }

    #[test]
    fn of_the_first_sector_the_part_that_is_newer_counts() {
        let mut file = vec![7u8; 2_600];
        file[509..512].fill(0);
        assert!(!lacks_sector(&file, 509, 900), "three zeros begin every record");
        file[508] = 0;
        assert!(lacks_sector(&file, 508, 900));
        assert!(lacks_sector(&file, 508, 509), "what is whole begins with zeros");
        assert!(!lacks_sector(&file, 507, 900));
    }
}
