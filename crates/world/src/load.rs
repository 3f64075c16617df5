//! TAU-bench's files: databases, policies, tools and tasks, which are nobody's to put into this repository.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use lapidary_core::{Kind, Problem, Result};

use crate::python::{Value, parse};
use crate::world::{Domain, Task, World};

/// The environment variable that names the folder of data files.
pub const DATA_VARIABLE: &str = "LAPIDARY_DATA";
/// No file of a world is larger, unpacked.
const LARGEST: u64 = 1 << 30;

/// A published world.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Its name on the command line.
    pub name: &'static str,
    /// Which tools it has.
    pub domain: Domain,
    /// Its splits of tasks; the first is the one that scores are reported on.
    pub splits: &'static [&'static str],
}

/// TAU-bench's worlds.
pub const PUBLISHED: &[Published] = &[
    Published { name: "tau-retail", domain: Domain::Retail, splits: &["test", "train", "dev"] },
    Published { name: "tau-airline", domain: Domain::Airline, splits: &["test"] },
];

impl Published {
    /// The world of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PUBLISHED.iter().find(|world| world.name == name)
    }

    /// Reads the world with the tasks of a split from a folder that holds the files, or has a folder `tau_bench` that does.
    ///
    /// # Errors
    /// `Usage` `E002`: no such split. `Data` `E003`: a file is not there; `E004`: it cannot be read or is broken.
    pub fn load(&self, folder: &Path, split: &str) -> Result<World> {
        if !self.splits.contains(&split) {
            return Err(Problem::new(Kind::Usage, "E002", format!("`{}` has no split `{split}`", self.name))
                .hint(format!("its splits are: {}", self.splits.join(", "))));
        }
        let domain = self.domain.name();
        let inner = folder.join("tau_bench");
        let folder = if inner.is_dir() { inner } else { folder.to_path_buf() };
        let mut tables = Value::dict([]);
        for table in self.domain.tables() {
            let path = find(&folder, &format!("{domain}_db_{table}.json"))?;
            let read = parse(&read(&path)?).map_err(|(at, what)| broken(&path, &format!("{what} at byte {at}")))?;
            if read.as_dict().is_none() {
                return Err(broken(&path, "a table must map ids to records"));
            }
            if let Some(tables) = tables.as_dict_mut() {
                tables.insert((*table).into(), read);
            }
        }
        let tasks = find(&folder, &format!("tasks_{domain}_{split}.json"))?;
        let tools = find(&folder, &format!("{domain}_tools.json"))?;
        let schemas: serde_json::Value =
            serde_json::from_str(&read(&tools)?).map_err(|error| broken(&tools, &error.to_string()))?;
        let schemas = schemas["tools"].as_array().ok_or_else(|| broken(&tools, "`tools` must be a list"))?.clone();
        Ok(World {
            name: self.name.to_string(),
            domain: self.domain,
            tables,
            policy: read(&find(&folder, &format!("{domain}_policy.md"))?)?,
            schemas,
            tasks: Task::read_all(&read(&tasks)?, &tasks.display().to_string())?,
        })
    }
}

/// The folder of data files: the one given, or that of [`DATA_VARIABLE`].
///
/// # Errors
/// `Usage` `E001`: neither is given.
pub fn data_folder(given: Option<&Path>) -> Result<PathBuf> {
    given.map(Path::to_path_buf).or_else(|| std::env::var_os(DATA_VARIABLE).map(PathBuf::from)).ok_or_else(|| {
        Problem::new(Kind::Usage, "E001", "nothing says where TAU-bench's files are")
            .why("its databases and tasks are not part of Lapidary")
            .hint(format!("set {DATA_VARIABLE} to the folder that holds `tau_bench`, or give --data FOLDER"))
    })
}

fn broken(path: &Path, what: &str) -> Problem {
    Problem::new(Kind::Data, "E004", format!("`{}` is broken: {what}", path.display()))
}

/// The file, packed or not.
fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let packed = folder.join(format!("{name}.gz"));
    let plain = folder.join(name);
    [plain, packed].into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Problem::new(Kind::Data, "E003", format!("there is no `{name}` or `{name}.gz` in `{}`", folder.display()))
            .hint("docs/environments.md says which files a world needs")
    })
}

/// The text of a file; one that ends in `.gz` is unpacked.
///
/// # Errors
/// `Data` `E004`: it cannot be read, is no UTF-8, or is larger than a world can be.
pub fn read(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path).map_err(|error| Problem::io("open", path, &error).with_kind(Kind::Data))?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let mut reader: Box<dyn Read> = if packed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut text = String::new();
    reader.by_ref().take(LARGEST + 1).read_to_string(&mut text).map_err(|error| broken(path, &error.to_string()))?;
    if text.len() as u64 > LARGEST { Err(broken(path, "it is larger than 1 GiB")) } else { Ok(text) }
}
