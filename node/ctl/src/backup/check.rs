//! Reads everything a backup consists of, and tells what is wrong with it.

use only1mcp_domain::State;
use only1mcp_domain::ids::Digest;
use only1mcp_domain::row::Table;
use only1mcp_proto::image::ImageCheck;
use only1mcp_storage::{SegmentCheck, SegmentCopy, SegmentName};
use sha3::{Digest as _, Sha3_256};

use super::copy::segment_name;
use super::manifest::Manifest;
use super::target::{Target, image_address};

/// Why a backup cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the image: {0}")]
    Image(String),
    #[error("the segment of events {first} to {last}, {address}: {problem}")]
    Segment { first: u64, last: u64, address: Digest, problem: String },
    #[error("the manifest says otherwise than the image: {0}")]
    Manifest(&'static str),
}

/// A backup that can be restored.
#[derive(Debug)]
pub struct Checked {
    pub state: State,
    pub segments: Vec<SegmentName>,
}

/// Errors: every fault that was found.
pub fn check(target: &Target, manifest: &Manifest) -> Result<Checked, Vec<Fault>> {
    let (state, segments) = image(target, manifest).map_err(|fault| vec![fault])?;
    let mut faults = Vec::new();
    let mut before = Digest::default();
    for name in &segments {
        if let Err(error) = SegmentCheck::of(*name, before, SegmentCopy::Whole).run(target.segments()) {
            faults.push(Fault::Segment {
                first: name.first.0,
                last: name.last.0,
                address: name.address,
                problem: error.to_string(),
            });
        }
        before = name.hash;
    }
    if faults.is_empty() { Ok(Checked { state, segments }) } else { Err(faults) }
}

fn image(target: &Target, manifest: &Manifest) -> Result<(State, Vec<SegmentName>), Fault> {
    let fault = |error: anyhow::Error| Fault::Image(format!("{error:#}"));
    let bytes = target.images().size(&image_address(&manifest.name()), SegmentCopy::Whole);
    let bytes = bytes.map_err(|error| Fault::Image(error.to_string()))?;
    let bytes = bytes.ok_or_else(|| Fault::Image("it is not there".to_owned()))?;
    if bytes != manifest.image.bytes {
        return Err(Fault::Image(format!("it has {bytes} bytes, not {}", manifest.image.bytes)));
    }
    let mut check = ImageCheck::new(Table::is_beside);
    let mut hasher = Sha3_256::new();
    for frame in target.frames(manifest).map_err(fault)? {
        let frame = frame.map_err(fault)?;
        hasher.update(&frame);
        check.take(&frame).map_err(|error| Fault::Image(error.to_string()))?;
    }
    if Digest(hasher.finalize().into()).to_string() != manifest.image.sha3 {
        return Err(Fault::Image("it is not what its hash says".to_owned()));
    }
    let image = check.finish().map_err(|error| Fault::Image(error.to_string()))?;
    let named = image.segments.iter().map(segment_name).collect::<anyhow::Result<Vec<_>>>().map_err(fault)?;
    if manifest.segment_names().map_err(fault)? != named {
        return Err(Fault::Manifest("segments"));
    }
    let Some(cluster) = &image.state.cluster else { return Err(Fault::Manifest("cluster")) };
    let told = (manifest.cluster_id.clone(), manifest.epoch);
    if (cluster.id.to_string(), cluster.epoch) != told {
        return Err(Fault::Manifest("cluster"));
    }
    let chain = image.state.chain;
    if (chain.index.0, chain.hash.to_string()) != (manifest.audit_index, manifest.audit_hash.clone()) {
        return Err(Fault::Manifest("audit chain"));
    }
    Ok((image.state, named))
}
