//! A feature space by name, as users and settings write it.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Resizing;

/// A feature space by name: `pixels`, `classifier`, `inception`, or one with the file of its weights, such as `effnet:FILE`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SpaceChoice {
    /// [`super::Pixels`]
    #[default]
    Pixels,
    /// [`super::Classifier`], trained on the data or read from a file.
    Classifier(Option<PathBuf>),
    /// [`super::EffNet`]
    EffNet(PathBuf),
    /// [`super::Inception`], with its file or whatever the program finds for it.
    Inception(Option<PathBuf>, Resizing),
}

impl SpaceChoice {
    /// The name of its space, as it stands in the names of scores.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pixels => "pixels",
            Self::Classifier(_) => "classifier",
            Self::EffNet(_) => "effnet",
            Self::Inception(_, Resizing::PytorchFid) => "inception",
            Self::Inception(_, Resizing::CleanFid) => "inception_clean",
        }
    }
}

impl FromStr for SpaceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = match text.split_once(':') {
            Some((name, file)) if !file.is_empty() => (name, Some(PathBuf::from(file))),
            Some((name, _)) => return Err(format!("a file after the colon: {name}:FILE")),
            None => (text, None),
        };
        match (name, file) {
            ("pixels", None) => Ok(Self::Pixels),
            ("classifier", file) => Ok(Self::Classifier(file)),
            ("effnet", Some(file)) => Ok(Self::EffNet(file)),
            ("inception", file) => Ok(Self::Inception(file, Resizing::PytorchFid)),
            ("inception-clean", file) => Ok(Self::Inception(file, Resizing::CleanFid)),
            ("effnet", None) => Err(format!("a file of its weights: {name}:FILE")),
            _ => Err(
                "pixels, classifier, inception or inception-clean, each but the first also with :FILE, or effnet:FILE"
                    .into(),
            ),
        }
    }
}

impl fmt::Display for SpaceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pixels => f.write_str("pixels"),
            Self::Classifier(None) => f.write_str("classifier"),
            Self::Classifier(Some(file)) => write!(f, "classifier:{}", file.display()),
            Self::EffNet(file) => write!(f, "effnet:{}", file.display()),
            Self::Inception(file, resizing) => {
                f.write_str(match resizing {
                    Resizing::PytorchFid => "inception",
                    Resizing::CleanFid => "inception-clean",
                })?;
                file.as_ref().map_or(Ok(()), |file| write!(f, ":{}", file.display()))
            }
        }
    }
}

impl TryFrom<String> for SpaceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SpaceChoice> for String {
    fn from(choice: SpaceChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_names_and_files() {
        for text in [
            "pixels",
            "classifier",
            "classifier:c",
            "effnet:a:b",
            "inception",
            "inception:x",
            "inception-clean",
            "inception-clean:x",
        ] {
            let choice: SpaceChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("effnet:a:b".parse(), Ok(SpaceChoice::EffNet("a:b".into())));
        assert_eq!(
            "effnet".parse::<SpaceChoice>().unwrap_err(),
            "a file of its weights: effnet:FILE"
        );
        for wrong in ["", "pixels:a", "classifier:", "vgg:a", "inception:", "effnet:"] {
            assert!(wrong.parse::<SpaceChoice>().is_err(), "{wrong}");
        }
    }
}
