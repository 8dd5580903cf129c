//! The checks that configs have in common. Each gives a reason that names the keys and their values.

/// More than any model has, and small enough that products of a few sizes stay far from overflow.
const LARGEST_SIZE: usize = 1 << 24;

/// A size that is neither zero nor absurd.
pub(super) fn size(name: &str, value: usize) -> Result<(), String> {
    match value {
        0 => Err(format!("{name} is 0")),
        1..=LARGEST_SIZE => Ok(()),
        _ => Err(format!("{name} is {value}, over {LARGEST_SIZE}")),
    }
}

/// Several sizes.
pub(super) fn sizes(named: &[(&str, usize)]) -> Result<(), String> {
    named.iter().try_for_each(|&(name, value)| size(name, value))
}

/// `part` divides `whole`; both must be sizes.
pub(super) fn divides(part_name: &str, part: usize, whole_name: &str, whole: usize) -> Result<(), String> {
    sizes(&[(part_name, part), (whole_name, whole)])?;
    if whole.is_multiple_of(part) {
        Ok(())
    } else {
        Err(format!("{part_name} {part} does not divide {whole_name} {whole}"))
    }
}

/// A finite number above zero, such as an epsilon.
pub(super) fn positive(name: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value > 0.0 { Ok(()) } else { Err(format!("{name} is {value}, not a number above 0")) }
}

/// A finite number of zero or more.
pub(super) fn not_negative(name: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(format!("{name} is {value}, not a number of 0 or more"))
    }
}

/// One of the values that are implemented.
pub(super) fn supported<T: PartialEq + std::fmt::Debug>(name: &str, value: T, known: &[T]) -> Result<(), String> {
    if known.contains(&value) {
        return Ok(());
    }
    let known: Vec<String> = known.iter().map(|k| format!("{k:?}")).collect();
    Err(format!("{name} {value:?} is not supported (only {})", known.join(", ")))
}

/// A feature that is not implemented must be absent.
pub(super) fn absent(name: &str, value: &Option<serde_json::Value>) -> Result<(), String> {
    match value {
        None | Some(serde_json::Value::Null) => Ok(()),
        Some(value) => Err(format!("{name} {value} is not supported")),
    }
}
