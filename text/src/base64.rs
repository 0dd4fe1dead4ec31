//! Base64 as in RFC 4648, section 4, with padding.
#![forbid(unsafe_code)]

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` as base64.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let used = digit <= chunk.len();
            let value = (bits >> (18 - 6 * digit)) & 63;
            out.push(if used { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    out
}

/// Appends to `out` what `text` stands for; the error says what is wrong. There is one text for any bytes: with padding,
/// and with zeros in the bits that stand for nothing.
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    if !text.len().is_multiple_of(4) {
        return Err(format!("base64 of {} characters, which is no multiple of 4", text.len()));
    }
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let digits = &text[..text.len() - padding];
    for (chunk, at) in digits.chunks(4).zip((0..).step_by(4)) {
        let mut bits = 0;
        for (digit, at) in chunk.iter().zip(at..) {
            let value = value(*digit).ok_or_else(|| format!("character {} is no base64", at + 1))?;
            bits = bits << 6 | value;
        }
        // One digit alone cannot be: what is padded is two or three.
        let len = chunk.len() - 1;
        bits <<= 6 * (4 - chunk.len());
        let bytes = bits.to_be_bytes();
        if bytes[1 + len..].iter().any(|byte| *byte != 0) {
            return Err("base64 whose last character has bits that belong to no byte".into());
        }
        out.extend_from_slice(&bytes[1..=len]);
    }
    Ok(())
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(text: &str) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        decode(text.as_bytes(), &mut out).map(|()| out)
    }

    #[test]
    fn by_example() {
        // The examples of RFC 4648, and all digits.
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (bytes, text) in cases {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decoded(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(encode(&[0xff, 0xef, 0xbe, 0x00]), "/+++AA==");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("Zg=", "3 characters"),
            ("Zg", "2 characters"),
            ("Z===", "character 2 is no base64"),
            ("=Zg=", "character 1 "),
            ("Zg==Zg==", "character 3 "),
            ("====", "character 1 "),
            ("Zm9v Zm9", "character 5 "),
            ("Zm9-", "character 4 "),
            ("Zh==", "bits that belong to no byte"),
            ("Zm9=", "bits that belong to no byte"),
        ];
        for (text, what) in cases {
            let error = decoded(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decoded(&encode(&bytes)).unwrap(), bytes);
        }

        /// What is decoded at all is what encodes to the same.
        #[test]
        fn there_is_one_text(text in "[A-Za-z0-9+/=]{0,12}") {
            if let Ok(bytes) = decoded(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
