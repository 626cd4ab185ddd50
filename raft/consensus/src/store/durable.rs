//! Up to which index this node's own log is on disk.

use tokio::sync::watch;

/// Shared between the log store, which moves it, and the state machine, which waits for it.
#[derive(Clone, Debug)]
pub struct Durable {
    mark: watch::Sender<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Entries `< next` are on disk.
    next: u64,
    /// Counts truncations, so that a flush reported late does not vouch for what has been cut.
    generation: u64,
    failed: bool,
}

impl Durable {
    /// `last`: the last index found on disk.
    pub fn at_open(last: Option<u64>) -> Self {
        let next = last.map_or(0, |index| index.saturating_add(1));
        Self { mark: watch::Sender::new(Mark { next, generation: 0, failed: false }) }
    }

    pub fn generation(&self) -> u64 {
        self.mark.borrow().generation
    }

    /// Everything up to `index`, appended in `generation`, is on disk.
    pub fn flushed(&self, generation: u64, index: u64) {
        self.mark.send_if_modified(|mark| {
            let moves = mark.generation == generation && mark.next <= index;
            if moves {
                mark.next = index.saturating_add(1);
            }
            moves
        });
    }

    /// Entries after `last` are gone.
    pub fn truncated(&self, last: Option<u64>) {
        self.mark.send_modify(|mark| {
            mark.generation = mark.generation.wrapping_add(1);
            mark.next = mark.next.min(last.map_or(0, |index| index.saturating_add(1)));
        });
    }

    /// Entries up to `index` are covered by durable rows, whether the log held them or not.
    pub fn covered(&self, index: u64) {
        self.mark.send_modify(|mark| mark.next = mark.next.max(index.saturating_add(1)));
    }

    /// The log takes no more: whoever waits must stop.
    pub fn failed(&self) {
        self.mark.send_modify(|mark| mark.failed = true);
    }

    /// Returns once `index` is on disk; `false` when it never will be.
    pub async fn wait(&self, index: u64) -> bool {
        let mut marks = self.mark.subscribe();
        match marks.wait_for(|mark| mark.failed || mark.next > index).await {
            Ok(mark) => mark.next > index,
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_index_counts_once_flushed_and_no_longer_once_cut() {
        let durable = Durable::at_open(None);
        let generation = durable.generation();
        durable.flushed(generation, 4);
        assert!(durable.wait(4).await);
        durable.truncated(Some(1));
        durable.flushed(generation, 4);
        assert!(durable.wait(1).await);
        let late = tokio::time::timeout(std::time::Duration::from_millis(20), durable.wait(2)).await;
        assert!(late.is_err(), "a flush reported after the cut must not count");
        durable.failed();
        assert!(!durable.wait(2).await);
    }
}
