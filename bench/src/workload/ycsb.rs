//! YCSB's properties: a workload of its core package, said as YCSB says it.
//!
//! `name=value`, one a line, `#` before what is a remark. Names and defaults are those of YCSB 0.17's `CoreWorkload`.
//! What a property asks for that does not exist here is refused, rather than ignored.
#![forbid(unsafe_code)]

use super::{Distribution, Op, Role, Work, Workload};

/// What a file of properties says.
#[derive(Clone, PartialEq, Debug)]
pub struct Properties {
    /// The workload.
    pub workload: Workload,
    /// `recordcount`: entries that are loaded.
    pub entries: Option<u64>,
    /// `operationcount`.
    pub operations: Option<u64>,
    /// `threadcount`.
    pub threads: Option<u64>,
    /// `fieldcount` times `fieldlength`: bytes of a value.
    pub value_len: Option<u32>,
}

/// Reads properties; `origin` is what messages call their source, and the workload's name.
///
/// # Errors
/// Which line is wrong, and how.
pub fn parse(origin: &str, text: &str) -> Result<Properties, String> {
    let mut reading = Reading::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with('!') {
            continue;
        }
        let at = |what: String| format!("{origin}, line {}: {what}", index + 1);
        let (name, value) = line.split_once('=').ok_or_else(|| at(format!("'{line}' is not name=value")))?;
        reading.set(name.trim(), value.trim()).map_err(at)?;
    }
    reading.finish(origin)
}

/// What was read so far; `None` is YCSB's default.
#[derive(Default)]
struct Reading {
    shares: [Option<f64>; 5],
    distribution: Option<Distribution>,
    scan: (Option<u64>, Option<u64>),
    fields: (Option<u32>, Option<u32>),
    entries: Option<u64>,
    operations: Option<u64>,
    threads: Option<u64>,
}

/// The operations of [`Reading::shares`], their properties, and how often they come by default.
const SHARES: [(Op, &str, f64); 5] = [
    (Op::Read, "readproportion", 0.95),
    (Op::Update, "updateproportion", 0.05),
    (Op::Insert, "insertproportion", 0.0),
    (Op::Scan, "scanproportion", 0.0),
    (Op::ReadModifyWrite, "readmodifywriteproportion", 0.0),
];

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<Option<T>, String>
where
    T::Err: std::fmt::Display,
{
    value.parse().map(Some).map_err(|error| format!("{name}={value}: {error}"))
}

fn only(name: &str, value: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.iter().any(|allowed| value.eq_ignore_ascii_case(allowed)) {
        return Ok(());
    }
    Err(format!("{name}={value} does not exist here, only {}", allowed.join(", ")))
}

impl Reading {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if let Some(index) = SHARES.iter().position(|(_, known, _)| *known == name) {
            let share: Option<f64> = number(name, value)?;
            if !share.is_some_and(|share| (0.0..=1.0).contains(&share)) {
                return Err(format!("{name}={value} is not a share from 0 to 1"));
            }
            self.shares[index] = share;
            return Ok(());
        }
        match name {
            "recordcount" => self.entries = number(name, value)?,
            "operationcount" => self.operations = number(name, value)?,
            "threadcount" => self.threads = number(name, value)?,
            "fieldcount" => self.fields.0 = number(name, value)?,
            "fieldlength" => self.fields.1 = number(name, value)?,
            "minscanlength" => self.scan.0 = number(name, value)?,
            "maxscanlength" => self.scan.1 = number(name, value)?,
            "requestdistribution" => {
                self.distribution = Some(match value {
                    "uniform" => Distribution::Uniform,
                    "zipfian" => Distribution::Zipfian,
                    "latest" => Distribution::Latest,
                    "sequential" => Distribution::Sequential,
                    _ => return Err(format!("{name}={value} does not exist here")),
                });
            }
            "workload" => only(
                name,
                value,
                &["site.ycsb.workloads.CoreWorkload", "com.yahoo.ycsb.workloads.CoreWorkload"],
            )?,
            "readallfields" | "writeallfields" => only(name, value, &["true", "false"])?,
            "scanlengthdistribution" => only(name, value, &["uniform"])?,
            "fieldlengthdistribution" => only(name, value, &["constant"])?,
            "insertorder" => only(name, value, &["hashed"])?,
            "table" => {}
            _ => return Err(format!("the property {name} does not exist here")),
        }
        Ok(())
    }

    fn finish(self, origin: &str) -> Result<Properties, String> {
        let (scan_least, scan_most) = (self.scan.0.unwrap_or(1), self.scan.1.unwrap_or(1000));
        if scan_least == 0 || scan_least > scan_most {
            return Err(format!("{origin}: scans of {scan_least} to {scan_most} entries"));
        }
        let shares = SHARES.iter().zip(self.shares);
        let mix: Vec<(Op, f64)> = shares
            .map(|((op, _, default), share)| (*op, share.unwrap_or(*default)))
            .filter(|(_, share)| *share > 0.0)
            .collect();
        if mix.is_empty() {
            return Err(format!("{origin}: no operation has a share"));
        }
        let value_len = match self.fields {
            (None, None) => None,
            (count, len) => {
                let bytes = count.unwrap_or(10).checked_mul(len.unwrap_or(100));
                Some(
                    bytes
                        .filter(|bytes| *bytes > 0)
                        .ok_or_else(|| format!("{origin}: values of no length, or of too great a one"))?,
                )
            }
        };
        let role = Role {
            mix,
            distribution: self.distribution.unwrap_or(Distribution::Uniform),
            scan: (scan_least, scan_most),
            ..Role::of(Op::Read)
        };
        let about = format!("the YCSB workload of {origin}");
        Ok(Properties {
            workload: Workload { name: origin.into(), about, work: Work::Run(vec![role]) },
            entries: self.entries,
            operations: self.operations,
            threads: self.threads,
            value_len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_file_of_ycsb_is_read() {
        let text = "# Workload E\nrecordcount=1000\noperationcount=2000\nworkload=site.ycsb.workloads.CoreWorkload\n\
                    readallfields=true\nreadproportion=0\nupdateproportion=0\nscanproportion=0.95\ninsertproportion=0.05\n\n\
                    requestdistribution=zipfian\nmaxscanlength=100\nscanlengthdistribution=uniform\nfieldcount=2\nfieldlength=50\n";
        let read = parse("workloade", text).unwrap();
        let Work::Run(roles) = &read.workload.work else { panic!() };
        assert_eq!(roles[0].mix, [(Op::Insert, 0.05), (Op::Scan, 0.95)]);
        assert_eq!((roles[0].distribution, roles[0].scan), (Distribution::Zipfian, (1, 100)));
        assert_eq!((read.entries, read.operations, read.value_len), (Some(1000), Some(2000), Some(100)));
        let defaults = parse("x", "").unwrap();
        let Work::Run(roles) = &defaults.workload.work else { panic!() };
        assert_eq!(roles[0].mix, [(Op::Read, 0.95), (Op::Update, 0.05)]);
        assert_eq!(defaults.value_len, None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, wanted) in [
            ("a", "f, line 1: 'a' is not name=value"),
            ("\nrecordcount=x", "f, line 2: recordcount=x: invalid digit"),
            ("readproportion=2", "not a share"),
            ("readproportion=NaN", "not a share"),
            ("requestdistribution=hotspot", "requestdistribution=hotspot does not exist here"),
            ("insertorder=ordered", "only hashed"),
            ("coreworkload=1", "the property coreworkload does not exist here"),
            ("minscanlength=5\nmaxscanlength=4", "scans of 5 to 4 entries"),
            ("readproportion=0\nupdateproportion=0", "no operation has a share"),
            ("fieldlength=4000000000", "too great"),
        ] {
            let error = parse("f", text).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
