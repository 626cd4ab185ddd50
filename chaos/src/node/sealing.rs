//! Keys of a simulated node: everything on its disk is sealed, as it is on a real one.

use std::sync::Arc;
use std::sync::Mutex;

use only1mcp_storage::{Key32, Sealer, SealerKeys, StorageError};

use crate::oracle::Life;
use crate::rng::Rng;
use crate::stage::locked;

/// The keys outlive the node's crashes; each life draws salts of its own, which are the same in the same world.
pub fn sealer(life: Life) -> Result<Arc<Sealer>, StorageError> {
    let mut rng = Rng::new(life.node.0);
    let mut key = || {
        let mut bytes = [0; 32];
        rng.fill(&mut bytes);
        Key32::take(&mut bytes)
    };
    let (data, names) = ([(1, key())].into(), key());
    let ring = u128::from(life.node.0).to_be_bytes();
    let salts = Mutex::new(Rng::new((life.node.0 << 32) | life.number));
    let draw = move |salt: &mut [u8; 32]| {
        locked(&salts).fill(salt);
        Ok(())
    };
    Sealer::new(SealerKeys { ring, data, current: 1, names, generations: Default::default() }, Box::new(draw))
        .map(Arc::new)
}
