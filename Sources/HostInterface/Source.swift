// What reading a source gives. A host delivers raw text; what it means is decided by `Telemetry`, without a system.

/// What reading a source gave.
public enum SourceRead: Equatable, Sendable {
  /// The text was appended; its numbers times ten to the power of `exponent` are in the unit of the source. The text
  /// stays what the source said.
  case complete(exponent: Int)
  /// Not yet.
  case pending
  /// Nothing was appended, but for `busy`.
  case failed(ReadFailure)
}

/// Why a source or its text gave no value.
public enum ReadFailure: UInt8, Error, Equatable, Sendable, BitwiseCopyable {
  /// There is no such file, zone, chip, interface or mount.
  case notFound
  /// We may not read it.
  case notPermitted
  /// The driver reported an error.
  case inputOutput
  /// No answer in time.
  case timeout
  /// The text has no field, is no number, or is more than a number.
  case notUnderstood
  /// The value is out of the range of decimal numbers.
  case outOfRange
  /// The driver has nothing yet, or is busy: its device sleeps or wakes up (EAGAIN, EBUSY).
  case notReady
  /// The driver has nothing to give (ENODATA).
  case noData
  /// There is nothing to be read in the present state: the speed of a link that is down (EINVAL, EOPNOTSUPP).
  case notAvailable
  /// Nothing is connected there (ENXIO).
  case notConnected
  /// The network is down (ENETDOWN).
  case networkDown
  /// The mark for a temperature that has never been read: the kernel's, or a 1-wire chip's from before it measured.
  case neverRead
  /// Nothing is mounted at a mount point: what could be read there is another file system's.
  case notMounted
  /// Bytes that came from a bus do not have their checksum.
  case checksum
  /// Somebody else has it; where that is known, the text is his name and no value.
  case busy
  /// The name is that of several.
  case ambiguous

  /// The word for a log line.
  public var name: StaticString {
    switch self {
    case .notFound: "not-found"
    case .notPermitted: "not-permitted"
    case .inputOutput: "input-output-error"
    case .timeout: "timeout"
    case .notUnderstood: "not-understood"
    case .outOfRange: "out-of-range"
    case .notReady: "not-ready"
    case .noData: "no-data"
    case .notAvailable: "not-available"
    case .notConnected: "not-connected"
    case .networkDown: "network-down"
    case .neverRead: "never-read"
    case .notMounted: "not-mounted"
    case .checksum: "checksum"
    case .busy: "busy"
    case .ambiguous: "ambiguous"
    }
  }
}
