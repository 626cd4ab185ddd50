//! Measures nesting before any parser recurses.

/// Whether `text` nests deeper than `depth_max`. Reads brackets outside strings only; whether it is JSON is for
/// the parser to say.
pub(crate) fn too_deep(text: &str, depth_max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::too_deep;

    #[test]
    fn json_depth_max_is_met_on_both_sides() {
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert!(!too_deep(&nested(64), 64));
        assert!(too_deep(&nested(65), 64));
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        assert!(!too_deep(r#"{"a":"[[[[\"[[[["}"#, 1));
        assert!(too_deep(r#"{"a":"\\","b":[]}"#, 1));
    }
}
