//! A checkpoint: the whole [`TrainState`], as data.

use std::{collections::BTreeMap, path::Path};

use gander_formats::safetensors::{self, Entry, SafeTensors, TensorView};
use gander_tensor::{DType, DeviceRef, Tensor};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    config::RunConfig,
    state::{SavedNumbers, TrainState},
};
use crate::{
    error::{Error, Result},
    models::ModelConfig,
    run::RunDirectory,
    shipped::{self, GeneratorHeader},
};

/// The version of checkpoint that this program writes and reads.
pub const VERSION: u32 = 1;

/// What such a file calls itself.
const KIND: &str = "checkpoint";

/// What a checkpoint says beside its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointHeader {
    /// The settings of the run.
    pub config: RunConfig,
    /// Identifies the training images.
    pub data_fingerprint: String,
    /// Everything of the state that is not a tensor.
    pub numbers: SavedNumbers,
}

/// Writes the state beside `path` and renames it, so that a kill at any instant leaves a whole file or none.
pub fn save(path: &Path, state: &TrainState, config: &RunConfig, data_fingerprint: &str) -> Result<()> {
    let (tensors, numbers) = state.to_saved();
    let header = CheckpointHeader {
        config: config.clone(),
        data_fingerprint: data_fingerprint.to_owned(),
        numbers,
    };
    write(path, KIND, VERSION, &header, &tensors)
}

/// Reads what a checkpoint says beside its tensors, and the tensors.
pub fn load(path: &Path, device: &DeviceRef) -> Result<(CheckpointHeader, BTreeMap<String, Tensor>)> {
    read(path, KIND, VERSION, device)
}

/// Reads what a checkpoint says beside its tensors.
pub fn load_header(path: &Path) -> Result<CheckpointHeader> {
    header(&safetensors::read(path)?, path, KIND, VERSION)
}

/// Networks that were trained.
#[derive(Debug)]
pub struct Trained {
    /// What they are.
    pub model: ModelConfig,
    /// Their weights, by the names of a checkpoint.
    pub tensors: BTreeMap<String, Tensor>,
    /// The settings of their run and the fingerprint of its images; a generator file does not know them.
    pub learned_from: Option<(RunConfig, String)>,
}

/// The networks of a checkpoint, of the newest checkpoint of a run directory, or of a generator file.
pub fn load_trained(path: &Path, device: &DeviceRef) -> Result<Trained> {
    let newest;
    let path = if path.is_dir() {
        let last = RunDirectory::open(path)?.checkpoints()?.pop();
        newest = last.ok_or_else(|| Error::NoCheckpoint { path: path.to_owned() })?.path;
        &newest
    } else {
        path
    };
    let file = safetensors::read(path)?;
    if file
        .metadata()
        .get("gander.kind")
        .is_none_or(|kind| kind != shipped::KIND)
    {
        let header: CheckpointHeader = header(&file, path, KIND, VERSION)?;
        header.config.validate()?;
        return Ok(Trained {
            model: header.config.model.clone(),
            tensors: tensors(&file, device)?,
            learned_from: Some((header.config, header.data_fingerprint)),
        });
    }
    let header: GeneratorHeader = header(&file, path, shipped::KIND, shipped::VERSION)?;
    header.model.validate()?;
    let of_both = |(name, tensor): (String, Tensor)| {
        ["generator", "ema_generator"].map(|part| (format!("{part}.{name}"), tensor.clone()))
    };
    Ok(Trained {
        model: header.model,
        tensors: tensors(&file, device)?.into_iter().flat_map(of_both).collect(),
        learned_from: None,
    })
}

/// Writes named tensors with a versioned header into one safetensors file.
pub(crate) fn write(
    path: &Path,
    kind: &'static str,
    version: u32,
    header: &impl Serialize,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<()> {
    let header = serde_json::to_string(header).map_err(|error| Error::InvalidConfig {
        reason: format!("cannot write the {kind}'s header: {error}"),
    })?;
    let metadata = BTreeMap::from([
        ("gander.kind".to_owned(), kind.to_owned()),
        ("gander.version".to_owned(), version.to_string()),
        ("gander.header".to_owned(), header),
    ]);
    let entries = tensors
        .iter()
        .map(|(name, tensor)| {
            let tensor = if tensor.dtype() == DType::F32 {
                tensor.clone()
            } else {
                tensor.cast(DType::F32)?
            };
            let bytes = tensor.to_bytes()?;
            Ok(Entry::new(
                name.clone(),
                gander_formats::DType::F32,
                tensor.shape().to_vec(),
                bytes,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(safetensors::write_atomic(path, &entries, &metadata)?)
}

/// Reads a file that [`write`] wrote.
pub(crate) fn read<H: DeserializeOwned>(
    path: &Path,
    kind: &'static str,
    version: u32,
    device: &DeviceRef,
) -> Result<(H, BTreeMap<String, Tensor>)> {
    let file = safetensors::read(path)?;
    Ok((header(&file, path, kind, version)?, tensors(&file, device)?))
}

fn tensors(file: &SafeTensors, device: &DeviceRef) -> Result<BTreeMap<String, Tensor>> {
    let tensor = |view: TensorView<'_>| {
        let values = view.to_f32()?;
        let tensor = Tensor::from_slice(&values, view.shape.to_vec(), device)?;
        Ok((view.name.to_owned(), tensor))
    };
    file.iter().map(tensor).collect()
}

pub(crate) fn header<H: DeserializeOwned>(
    file: &SafeTensors,
    path: &Path,
    kind: &'static str,
    version: u32,
) -> Result<H> {
    let not_ours = |reason: String| Error::NotOurs {
        path: path.to_owned(),
        expected: kind,
        reason,
    };
    let metadata = file.metadata();
    match metadata.get("gander.kind") {
        Some(found) if found == kind => {}
        Some(found) => return Err(not_ours(format!("it is a {found}"))),
        None => return Err(not_ours("it has no gander.kind in its metadata".into())),
    }
    let got: u64 = metadata
        .get("gander.version")
        .and_then(|version| version.parse().ok())
        .ok_or_else(|| not_ours("it has no version".into()))?;
    if got != u64::from(version) {
        return Err(Error::Version {
            path: path.to_owned(),
            got,
            expected: version,
        });
    }
    let header = metadata
        .get("gander.header")
        .ok_or_else(|| not_ours("it has no header".into()))?;
    serde_json::from_str(header).map_err(|error| not_ours(error.to_string()))
}
