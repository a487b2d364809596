//! "Did you mean …": the word of a list that is closest to one that is not in it.

/// The closest of `known`, if one is close enough to be what was meant.
pub(crate) fn closest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // One mistake in a short word, two in one of six letters and more.
    let allowed = if word.chars().count() < 6 { 1 } else { 2 };
    let is_start = |known: &str| word.len() >= 4 && known.strip_prefix(word).is_some_and(|rest| rest.starts_with('_'));
    let known: Vec<&str> = known.collect();
    if let Some(longer) = known.iter().find(|known| is_start(known)) {
        return Some(longer);
    }
    let distances = known.into_iter().map(|known| (strsim::osa_distance(word, known), known));
    distances.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// What to say of a word that is in no list: the closest that is, if there is one.
pub(crate) fn did_you_mean<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> String {
    closest(word, known).map_or(String::new(), |known| format!("; did you mean \"{known}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_close_is_suggested_and_nothing_else() {
        let known = || ["workers", "pipeline_depth", "queue_timeout_ms", "url"].into_iter();
        for (word, meant) in [
            ("worker", Some("workers")),
            ("wrokers", Some("workers")),
            ("pipelinedepth", Some("pipeline_depth")),
            ("ulr", Some("url")),
            ("queue_timeout", Some("queue_timeout_ms")),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known()), meant, "{word}");
        }
    }
}
