// Where sensors are read. A host delivers raw text; what it means is decided by `Telemetry`, which needs no system.

/// The kinds of places that a sensor can be read from, as written before the colon of `read =`.
public enum SourceKind: UInt8, Sendable, BitwiseCopyable {
  /// `thermal:TYPE`: a thermal zone by its type (or `thermal_zoneN`); a number in degrees Celsius with a power of ten,
  /// as the kernel counts in thousandths: `47250e-3`.
  case thermal
  /// `hwmon:CHIP/LABEL`: a hwmon input by chip name and label (or input name, `temp1`); a number with the power of ten
  /// that brings it to °C, V, A, W, J, %, rpm or Hz.
  case hwmon
  /// `loadavg:1|5|15`: text of /proc/loadavg.
  case loadavg
  /// `memory:FIELD`: text of /proc/meminfo.
  case memory
  /// `uptime`: text of /proc/uptime.
  case uptime
  /// `network:IFACE/COUNTER`: text of the interface's counter.
  case network
  /// `disk:PATH/free`: three numbers, `SIZE FREE AVAILABLE` in bytes, from statvfs.
  case disk
  /// `cpu:usage`: text of /proc/stat.
  case cpu
  /// `file:PATH`: text of the file.
  case file
  /// `constant:TEXT`: that text.
  case constant

  /// The word before the colon.
  public var name: StaticString {
    switch self {
    case .thermal: "thermal"
    case .hwmon: "hwmon"
    case .loadavg: "loadavg"
    case .memory: "memory"
    case .uptime: "uptime"
    case .network: "network"
    case .disk: "disk"
    case .cpu: "cpu"
    case .file: "file"
    case .constant: "constant"
    }
  }
}

/// What reading a source gave.
public enum SourceRead: Equatable, Sendable {
  /// The text was appended.
  case complete
  /// Not yet.
  case pending
  /// Nothing was appended.
  case failed(ReadFailure)
}

/// Why a source or its text gave no value.
public enum ReadFailure: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// There is no such file, zone, chip, interface or mount.
  case notFound
  /// We may not read it.
  case notPermitted
  /// The driver reported an error.
  case inputOutput
  /// No answer in time.
  case timeout
  /// The text has no number or field where one was expected.
  case notUnderstood
  /// The value is out of the range of decimal numbers.
  case outOfRange

  /// The word for a log line.
  public var name: StaticString {
    switch self {
    case .notFound: "not-found"
    case .notPermitted: "not-permitted"
    case .inputOutput: "input-output-error"
    case .timeout: "timeout"
    case .notUnderstood: "not-understood"
    case .outOfRange: "out-of-range"
    }
  }
}
