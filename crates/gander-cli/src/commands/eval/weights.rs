//! Published weights: downloaded once, and checked against the hash that their name carries.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::{failure::refuse, progress, screen::Screen};

/// The Inception network of published scores, as pytorch-fid serves it: `mseitzer/pytorch-fid`, release `fid_weights`.
const INCEPTION: &str =
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth";

/// An environment variable with the address of a folder that serves the same file.
const MIRROR: &str = "GANDER_WEIGHTS";

/// More would be no weights of a network that Gander knows.
const MOST_BYTES: u64 = 1 << 30;

/// The file of the Inception network: in `folder` already, or downloaded into it.
pub(super) fn inception(folder: Option<&Path>, screen: &Screen) -> anyhow::Result<PathBuf> {
    let name = INCEPTION.rsplit('/').next().unwrap_or(INCEPTION);
    let Some(folder) = folder else {
        return Err(refuse(
            "there is no folder to keep downloaded weights in",
            "name one with --cache DIR, or the file: --features inception:FILE",
        ));
    };
    let path = folder.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let address = match env::var(MIRROR) {
        Ok(mirror) if !mirror.is_empty() => format!("{}/{name}", mirror.trim_end_matches('/')),
        _ => INCEPTION.to_owned(),
    };
    download(&address, &path, screen).map_err(|error| {
        refuse(
            format!("cannot download the Inception network: {error:#}"),
            format!("fetch {INCEPTION} by other means and name it: --features inception:FILE"),
        )
    })?;
    Ok(path)
}

/// Downloads a file whose name carries its hash. It is there whole or not at all.
fn download(address: &str, path: &Path, screen: &Screen) -> anyhow::Result<()> {
    screen.say(format!("downloading {address}"));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_mins(1)))
        .build()
        .into();
    let response = agent.get(address).call()?;
    let len = response.body().content_length();
    let bar = progress::bar(screen, "download", len.unwrap_or(MOST_BYTES));
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let part = path.with_extension(format!("part-{}", std::process::id()));
    let written = (|| {
        let mut file = File::create(&part)?;
        let body = response.into_body().into_reader().take(MOST_BYTES);
        let copied = io::copy(&mut bar.wrap_read(body), &mut file)?;
        file.flush()?;
        file.sync_all()?;
        Ok::<_, io::Error>(copied)
    })();
    bar.finish_and_clear();
    let whole = written
        .with_context(|| format!("cannot write {}", part.display()))
        .and_then(|copied| match len {
            Some(len) if len != copied => Err(anyhow::anyhow!("cut off: {copied} of {len} bytes came")),
            _ => sha256(&part).and_then(|hash| matches(&hash, path)),
        })
        .and_then(|()| fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display())));
    if whole.is_err() {
        // Nothing of it can be of use.
        fs::remove_file(&part).ok();
    }
    whole
}

/// The hash of a file, in hexadecimal; refused if it is not the one in its name.
pub(super) fn verified(path: &Path) -> anyhow::Result<String> {
    let hash = sha256(path)?;
    matches(&hash, path)?;
    Ok(hash)
}

fn matches(hash: &str, path: &Path) -> anyhow::Result<()> {
    match prefix(path) {
        Some(prefix) if !hash.starts_with(&prefix) => Err(refuse(
            format!("{} is not what its name says: SHA-256 {hash}", path.display()),
            "it is damaged or another file: delete it and fetch it again",
        )),
        _ => Ok(()),
    }
}

/// The first digits of a hash at the end of a name, as in `weights-6726825d.pth`.
fn prefix(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let (_, digits) = stem.rsplit_once('-')?;
    let is_hash = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| digits.to_ascii_lowercase())
}

fn sha256(path: &Path) -> anyhow::Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).with_context(cannot)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
    }
    let mut hash = String::new();
    for byte in hasher.finalize() {
        write!(hash, "{byte:02x}").expect("a string takes all that is written");
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// SHA-256 of `weights`.
    const HASH: &str = "9a129038";

    /// Answers requests, each with this.
    fn serve(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = BufReader::new(stream.try_clone().unwrap());
                request
                    .lines()
                    .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
                    .count();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        address
    }

    fn download_to(folder: &Path, answer: &'static str, name: &str) -> anyhow::Result<()> {
        let address = format!("{}/{name}", serve(answer));
        download(&address, &folder.join(name), &Screen::quiet())
    }

    #[test]
    fn weights_come_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path();
        let good = format!("net-{HASH}.pth");
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nweights";
        download_to(folder, whole, &good).unwrap();
        assert_eq!(fs::read(folder.join(&good)).unwrap(), b"weights");

        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nweights";
        let other = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nweighty";
        let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let name = format!("other-{HASH}.pth");
        for answer in [cut, other, missing] {
            assert!(download_to(folder, answer, &name).is_err(), "{answer}");
        }
        let names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [good.as_str()]);
    }

    #[test]
    fn a_name_may_carry_a_hash() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = directory.path().join(name);
            fs::write(&path, "weights").unwrap();
            verified(&path)
        };
        assert!(write(&format!("net-{HASH}.pth")).is_ok());
        assert!(write("net-9a129039.pth").is_err());
        assert!(write("net.pth").is_ok() && write("net-2015.pth").is_ok());
    }
}
