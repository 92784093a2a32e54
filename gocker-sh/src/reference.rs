//! Names of images: docker's short form, which people type and read, and the whole one that `pull` keeps. Pure.

/// The whole form of what was typed: `busybox` is `docker.io/library/busybox:latest`.
///
/// What is no name of a registry's image (`oci:DIR`, an id) comes out as something no image has.
pub fn whole(typed: &str) -> String {
    let (name, digest) = match typed.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (typed, None),
    };
    let (domain, path) = match name.split_once('/') {
        Some(("index.docker.io", path)) => ("docker.io", path),
        Some((first, path)) if is_domain(first) => (first, path),
        _ => ("docker.io", name),
    };
    let library = if domain == "docker.io" && !path.contains('/') { "library/" } else { "" };
    let tag = if digest.is_none() && !path.contains(':') { ":latest" } else { "" };
    let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    format!("{domain}/{library}{path}{tag}{digest}")
}

fn is_domain(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.contains(|c: char| c.is_ascii_uppercase())
}

/// docker's short form: without the registry and the directory that everybody means.
pub fn familiar(whole: &str) -> &str {
    let short = whole.strip_prefix("docker.io/").unwrap_or(whole);
    match short.strip_prefix("library/") {
        Some(name) if short.len() < whole.len() => name,
        _ => short,
    }
}

/// Repository, tag and digest of a reference in either form.
pub fn parts(reference: &str) -> (&str, Option<&str>, Option<&str>) {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag), digest),
        _ => (name, None, digest),
    }
}

/// Whether text matches a pattern of `*`, `?` and plain characters; neither matches a slash, as in path.Match of Go.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut chars = pattern.chars();
    match chars.next() {
        None => text.is_empty(),
        Some('*') => {
            let end = text.find('/').unwrap_or(text.len());
            let cuts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            cuts.take_while(|at| *at <= end).any(|at| matches(chars.as_str(), &text[at..]))
        }
        Some(wanted) => match text.chars().next() {
            Some(c) if c == wanted || (wanted == '?' && c != '/') => {
                matches(chars.as_str(), &text[c.len_utf8()..])
            }
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_whole() {
        for (typed, all, short) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("user/app:1", "docker.io/user/app:1", "user/app:1"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest", "127.0.0.1:5000/app:latest"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            ("a@sha256:00", "docker.io/library/a@sha256:00", "a@sha256:00"),
            ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
        ] {
            assert_eq!(whole(typed), all);
            assert_eq!(familiar(all), short);
        }
        assert_eq!(familiar("example.com/library/a:1"), "example.com/library/a:1");
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(parts("127.0.0.1:5000/app"), ("127.0.0.1:5000/app", None, None));
        assert_eq!(
            parts("127.0.0.1:5000/app:1@sha256:0"),
            ("127.0.0.1:5000/app", Some("1"), Some("sha256:0"))
        );
    }

    #[test]
    fn patterns_stop_at_a_slash() {
        for (pattern, text, expected) in
            [("busy*", "busybox", true), ("*", "a/b", false), ("*/b?x", "a/box", true), ("b", "bb", false)]
        {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
