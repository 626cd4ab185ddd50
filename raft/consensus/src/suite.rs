//! openraft's own storage suite, on the log store and the state machine, over memory and over files.

use std::sync::Arc;

use only1mcp_storage::{FileRaftLog, MemDisk, MemOptions, RaftLogOptions, SledEngine};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use crate::options::Stores;
use crate::published::Published;
use crate::store::{LogStore, StateMachine, open};
use crate::types::TypeConfig;

fn stores_to_adapters(stores: &Stores) -> (LogStore, StateMachine) {
    let opened = open(stores, 1_000, tokio::time::Instant::now()).unwrap();
    // The suite applies entries it never appended and purges entries it never applied: no ties between the two.
    let log = LogStore::new(Arc::clone(&stores.log), opened.durable, None);
    let machine =
        StateMachine::new(Arc::clone(&stores.engine), opened.loaded, Arc::new(Published::new()), None);
    (log, machine)
}

struct InMemory;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, ()> for InMemory {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<TypeConfig>> {
        let disk = MemDisk::new(MemOptions::default());
        let (log, machine) =
            stores_to_adapters(&Stores { log: Arc::new(disk.log()), engine: Arc::new(disk.engine()) });
        Ok(((), log, machine))
    }
}

struct OnFiles;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, tempfile::TempDir> for OnFiles {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let folder = tempfile::tempdir().unwrap();
        let log = FileRaftLog::open(folder.path().join("log"), RaftLogOptions::default()).unwrap();
        let engine = SledEngine::open(folder.path().join("state")).unwrap();
        let (log, machine) = stores_to_adapters(&Stores { log: Arc::new(log), engine: Arc::new(engine) });
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
