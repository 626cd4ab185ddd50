//! Our types in raft-log's file format. Each record there is: type (u32), these bytes, CRC-32 (u64), big-endian.
//!
//! Records that one sync makes durable are a group, whose last one is a checkpoint with a [`GroupMark`].

use std::cmp::Ordering;
use std::io::{self, Read, Write};
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use only1mcp_domain::limits::LOG_RECORD_BYTES_MAX;
use raft_log::codeq::{Decode, Encode};

use crate::raft_log::{LogPosition, SavedVote};
use crate::seal::SEALED_BYTES;

pub(crate) type Record = raft_log::RaftLogRecord<LogTypes>;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogTypes;

impl raft_log::Types for LogTypes {
    type LogId = Position;
    type LogPayload = Payload;
    type Vote = Vote;
    type Callback = SyncSender<Result<(), io::Error>>;
    type UserData = GroupMark;

    fn log_index(position: &Position) -> u64 {
        position.0.index
    }

    fn payload_size(payload: &Payload) -> u64 {
        payload.0.len() as u64
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(pub LogPosition);

/// Bounded, so that a damaged length allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload(pub Bytes);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vote(pub SavedVote);

/// Where the first record of a group stands, counted from the log's beginning. Units: bytes. Nothing behind a group is
/// written before the group is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupMark(pub u64);

/// raft-log refuses a vote that is not `>=` the saved one. Which vote may follow which within a term is Raft's
/// business; that a term never falls is checked here too.
impl PartialOrd for Vote {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.0.term.cmp(&other.0.term))
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn read_array<const N: usize>(mut from: impl Read) -> io::Result<[u8; N]> {
    let mut out = [0; N];
    from.read_exact(&mut out)?;
    Ok(out)
}

impl Encode for Position {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        w.write_all(&self.0.term.to_be_bytes())?;
        w.write_all(&self.0.node.to_be_bytes())?;
        w.write_all(&self.0.index.to_be_bytes())?;
        Ok(24)
    }
}

impl Decode for Position {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let term = u64::from_be_bytes(read_array(&mut r)?);
        let node = u64::from_be_bytes(read_array(&mut r)?);
        let index = u64::from_be_bytes(read_array(&mut r)?);
        Ok(Self(LogPosition { term, node, index }))
    }
}

impl Encode for Payload {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let len = u32::try_from(self.0.len()).map_err(|_| invalid("payload too large"))?;
        w.write_all(&len.to_be_bytes())?;
        w.write_all(&self.0)?;
        Ok(4 + self.0.len())
    }
}

impl Decode for Payload {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let len = u32::from_be_bytes(read_array(&mut r)?);
        let len = usize::try_from(len).map_err(|_| invalid("payload length"))?;
        if len > LOG_RECORD_BYTES_MAX + SEALED_BYTES {
            return Err(invalid("payload length past its bound"));
        }
        let mut bytes = vec![0; len];
        r.read_exact(&mut bytes)?;
        Ok(Self(bytes.into()))
    }
}

impl Encode for Vote {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        w.write_all(&self.0.term.to_be_bytes())?;
        w.write_all(&self.0.node.to_be_bytes())?;
        w.write_all(&[u8::from(self.0.committed)])?;
        Ok(17)
    }
}

impl Decode for Vote {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let term = u64::from_be_bytes(read_array(&mut r)?);
        let node = u64::from_be_bytes(read_array(&mut r)?);
        let committed = match read_array::<1>(&mut r)? {
            [0] => false,
            [1] => true,
            _ => return Err(invalid("vote")),
        };
        Ok(Self(SavedVote { term, node, committed }))
    }
}

impl Encode for GroupMark {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        w.write_all(&self.0.to_be_bytes())?;
        Ok(8)
    }
}

impl Decode for GroupMark {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        Ok(Self(u64::from_be_bytes(read_array(&mut r)?)))
    }
}

#[cfg(test)]
mod tests {
    use raft_log::{RaftLogAction, WALRecord};

    use super::*;

    fn bytes(record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        record.encode(&mut out).unwrap();
        out
    }

    /// Persisted: these bytes never change.
    #[test]
    fn golden_bytes_of_an_append_and_a_vote() {
        let position = Position(LogPosition { term: 1, node: 2, index: 3 });
        let append = WALRecord::Action(RaftLogAction::Append(position, Payload(Bytes::from_static(b"hey"))));
        let mut expected = vec![0, 0, 0, 1];
        expected.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
        expected.extend([0, 0, 0, 3, b'h', b'e', b'y']);
        let crc = crc32fast::hash(&expected);
        expected.extend(u64::from(crc).to_be_bytes());
        assert_eq!(bytes(&append), expected);

        let vote =
            WALRecord::Action(RaftLogAction::SaveVote(Vote(SavedVote { term: 9, node: 4, committed: true })));
        let mut expected = vec![0, 0, 0, 0];
        expected.extend([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 4, 1]);
        let crc = crc32fast::hash(&expected);
        expected.extend(u64::from(crc).to_be_bytes());
        assert_eq!(bytes(&vote), expected);
    }

    /// Persisted: these bytes never change. A log of an earlier version has no marks.
    #[test]
    fn golden_bytes_of_a_checkpoint_with_a_mark_and_without() {
        for (mark, told) in [(None, vec![0]), (Some(GroupMark(0x0102_0304)), vec![1, 0, 0, 0, 0, 1, 2, 3, 4])]
        {
            let mut expected = vec![0, 0, 0, 5, 1, 0, 0, 0, 0];
            expected.extend(told);
            let crc = crc32fast::hash(&expected);
            expected.extend(u64::from(crc).to_be_bytes());
            let decoded = Record::decode(&mut expected.as_slice()).unwrap();
            assert_eq!(bytes(&decoded), expected);
            let WALRecord::Checkpoint(state) = decoded else { panic!("{decoded:?}") };
            assert_eq!(state.user_data, mark);
        }
    }

    #[test]
    fn every_flipped_bit_of_a_record_is_noticed() {
        let position = Position(LogPosition { term: 1, node: 2, index: 3 });
        let record =
            WALRecord::Action(RaftLogAction::Append(position, Payload(Bytes::from_static(b"payload"))));
        let good = bytes(&record);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&mut bad.as_slice()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_payload_length_past_the_bound_is_refused_before_it_is_allocated() {
        let bad = u32::MAX.to_be_bytes();
        assert_eq!(Payload::decode(&bad[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
