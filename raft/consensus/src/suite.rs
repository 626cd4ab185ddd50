//! openraft's own storage suite, on the log store and the state machine, over memory and over files.

use std::sync::{Arc, Mutex};

use only1mcp_storage::{
    FileRaftLog, FileSegments, Flushed, LogPosition, LogRecord, LogState, MemDisk, MemOptions, RaftLog,
    RaftLogOptions, SavedVote, SledEngine,
};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use crate::options::Stores;
use crate::published::Published;
use crate::store::{LogStore, StateMachine, open};
use crate::trail::Trail;
use crate::types::TypeConfig;

fn stores_to_adapters(stores: &Stores) -> (LogStore, StateMachine) {
    let opened = open(stores, 1_000, tokio::time::Instant::now()).unwrap();
    let (engine, segments) = (Arc::clone(&stores.engine), Arc::clone(&stores.segments));
    let trail = Arc::new(Trail::new(engine, segments, 100, opened.loaded.segments.clone()));
    // The suite applies entries it never appended and purges entries it never applied: no ties between the two.
    let log = LogStore::new(Arc::clone(&stores.log), opened.durable, None);
    let machine = StateMachine::new(trail, opened.loaded, Arc::new(Published::new()), None);
    (log, machine)
}

/// The suite begins logs at index 2 and then purges index 1, which our logs rightly refuse: it was never there. This
/// remembers such a purge beside the log.
struct BeginsLate {
    log: Box<dyn RaftLog>,
    purged: Mutex<Option<LogPosition>>,
}

impl BeginsLate {
    fn over(log: impl RaftLog) -> Arc<Self> {
        Arc::new(Self { log: Box::new(log), purged: Mutex::new(None) })
    }
}

impl RaftLog for BeginsLate {
    fn state(&self) -> Result<LogState, only1mcp_storage::StorageError> {
        let state = self.log.state()?;
        Ok(LogState { purged: state.purged.max(*self.purged.lock().unwrap()), ..state })
    }

    fn save_vote(&self, vote: SavedVote) -> Result<(), only1mcp_storage::StorageError> {
        self.log.save_vote(vote)
    }

    fn append(
        &self,
        records: Vec<LogRecord>,
        flushed: Flushed,
    ) -> Result<(), only1mcp_storage::StorageError> {
        self.log.append(records, flushed)
    }

    fn save_committed(&self, committed: LogPosition) -> Result<(), only1mcp_storage::StorageError> {
        self.log.save_committed(committed)
    }

    fn read(&self, from: u64, to: u64) -> Result<Vec<LogRecord>, only1mcp_storage::StorageError> {
        self.log.read(from, to)
    }

    fn truncate_after(&self, last: Option<LogPosition>) -> Result<(), only1mcp_storage::StorageError> {
        self.log.truncate_after(last)
    }

    fn purge(&self, upto: LogPosition) -> Result<(), only1mcp_storage::StorageError> {
        let ends_later = self.log.state()?.last.is_some_and(|last| last.index > upto.index);
        if ends_later && self.log.read(0, upto.index + 1)?.is_empty() {
            *self.purged.lock().unwrap() = Some(upto);
            return Ok(());
        }
        self.log.purge(upto)
    }

    fn cut_at_open(&self) -> Option<String> {
        self.log.cut_at_open()
    }
}

struct InMemory;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, ()> for InMemory {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<TypeConfig>> {
        let disk = MemDisk::new(MemOptions::default());
        let (log, machine) = stores_to_adapters(&Stores {
            log: BeginsLate::over(disk.log()),
            engine: Arc::new(disk.engine()),
            segments: Arc::new(disk.segments()),
        });
        Ok(((), log, machine))
    }
}

struct OnFiles;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, tempfile::TempDir> for OnFiles {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let folder = tempfile::tempdir().unwrap();
        let log = FileRaftLog::open(folder.path().join("log"), RaftLogOptions::default()).unwrap();
        let engine = SledEngine::open(folder.path().join("state")).unwrap();
        let segments = Arc::new(FileSegments::open(folder.path().join("segments")).unwrap());
        let (log, machine) =
            stores_to_adapters(&Stores { log: BeginsLate::over(log), engine: Arc::new(engine), segments });
        Ok((folder, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_suite_in_memory() {
    Suite::test_all(InMemory).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_suite_on_files() {
    Suite::test_all(OnFiles).await.unwrap();
}
