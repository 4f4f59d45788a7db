//! What is logged: tracing's filter directives, of which a level is the simplest.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// A level, or directives such as `warn,countersign=debug`.
///
/// # Errors
/// What is wrong with them. A word alone that is no level would be the name of a module, and a misspelt level thus turn off everything.
pub fn log_filter(text: &str) -> Result<EnvFilter, String> {
    // The crate takes an empty word for `error`.
    let is_level = |word: &str| !word.trim().is_empty() && word.trim().parse::<LevelFilter>().is_ok();
    let is_clear = |directive: &str| directive.contains(['=', '[']) || is_level(directive);
    match text.contains('[') || text.split(',').all(is_clear) {
        true => EnvFilter::try_new(text).map_err(|error| error.to_string()),
        false => Err(NO_LEVEL.to_owned()),
    }
}

const NO_LEVEL: &str = "must be error, warn, info, debug, trace or off, or name what has which level, such as warn,countersign=debug";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_no_module() {
        for good in [
            "info",
            "WARN",
            "off",
            "3",
            "warn,countersign=debug",
            "countersign::cluster=trace",
            "[check]=debug",
        ] {
            assert!(log_filter(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "warning", "inof", "info,countersign", "info,"] {
            assert_eq!(log_filter(bad).map_err(|error| error == NO_LEVEL).err(), Some(true), "{bad}");
        }
        assert!(log_filter("countersign=loud").is_err());
    }
}
