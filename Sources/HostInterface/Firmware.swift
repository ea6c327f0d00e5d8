// Images of new software: where they are written, how they are checked, and what starts them.
//
// Flash that is written to holds a process up for seconds, and reading an image back for longer. So every call that
// touches it answers at once, as in `HostStorage`: it is asked again with the same arguments, the same bytes included,
// in later turns of the loop, until it answers something else than `.pending`. The host wakes the loop when an
// operation has ended, which it does in a time that has a bound. One is under way at a time, and there is one caller:
// who asks for another one instead gets no answer about the first any more, and it may have happened or not.

import Bytes

/// Where an image is kept.
public enum FirmwarePlace: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// The two slots, of the agent's own program or of the system.
  case slotA, slotB
  /// The file that is handed to an installer.
  case file

  /// The name of its file.
  public var fileName: StaticString {
    switch self {
    case .slotA: "a"
    case .slotB: "b"
    case .file: "image"
    }
  }

  /// The other slot; a file has none.
  public var other: FirmwarePlace { self == .slotA ? .slotB : .slotA }
}

/// What the configured program is started for.
public enum InstallerTask: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// To install an image, whose path it gets.
  case install
  /// To tell which slot runs, and which one is started when nobody says otherwise.
  case state
  /// To have a slot started next, once.
  case tryOut
  /// To have a slot started from now on.
  case commit

  /// Whether it gets a slot as its second argument.
  public var isAboutSlot: Bool { rawValue >= InstallerTask.tryOut.rawValue }

  /// Its argument.
  public var name: StaticString {
    switch self {
    case .install: "install"
    case .state: "state"
    case .tryOut: "try"
    case .commit: "commit"
    }
  }
}

/// Bounds of what a host does for firmware.
public enum FirmwareLimits {
  /// The size of each of the two copies of the slot record, in bytes.
  public static var slotRecordBytes: Int { 256 }
  /// What is written to an image at a time at most, in bytes: the largest block of a bundle.
  public static var writeBytesMax: Int { 65_536 }
  /// How many keys are trusted at most.
  public static var keysMax: Int { 4 }
  /// How long an operation may take.
  public static var timeMax: TimeSpan { .seconds(60) }
  /// How slowly an image may be read back, in bytes per second.
  public static var readBackBytesPerSecond: UInt64 { 262_144 }
  /// What must be free besides the image, in bytes: records go on being written.
  public static var spareBytes: UInt64 { 262_144 }
}

/// A SHA-256 that has come to a multiple of 64 bytes, in a form that can be stored and taken up again.
public struct RunningHash: Sendable, BitwiseCopyable {
  /// Its state (FIPS 180-4, 6.2.2: H0 to H7).
  public var words: InlineArray<8, UInt32>
  /// How many bytes it is of, a multiple of 64.
  public var byteCount: UInt64

  /// Of nothing so far (FIPS 180-4, 5.3.3).
  public init() {
    words = [
      0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19,
    ]
    byteCount = 0
  }

  /// What it was when it was stored.
  public init(words: InlineArray<8, UInt32>, byteCount: UInt64) {
    self.words = words
    self.byteCount = byteCount
  }
}

/// Images, their checks, their slots and their installer. The part that installs is generic over this.
public protocol HostFirmware: ~Copyable {
  // MARK: Checks. None of them waits for anything.

  /// Adds `bytes`, a multiple of 64 of them, to `hash`.
  func add(_ bytes: Span<UInt8>, to hash: inout RunningHash)

  /// SHA-256 of all that was added to `hash`, and of `rest` behind it.
  func digest(of rest: Span<UInt8>, behind hash: RunningHash) -> InlineArray<32, UInt8>

  /// How many keys are trusted; none is read where none is configured or its file is bad.
  var trustedKeyCount: Int { get }

  /// Whether `signature` (DER, ECDSA with P-256) is that of the trusted key with this identifier of the message that
  /// has this SHA-256. Takes memory of the heap while it works, some milliseconds.
  func isSigned(_ digest: InlineArray<32, UInt8>, byKey identifier: UInt32, _ signature: Span<UInt8>) -> Bool

  /// Why images cannot be kept or tried here; nil where nothing speaks against it. Looks at the state folder and the
  /// file of keys as they were when the configuration was taken over.
  func firmwareObstacle() -> FirmwareObstacle?

  // MARK: Images

  /// Makes `place` ready to be written from `offset` on, where an image ends that was written up to there earlier; 0
  /// begins it anew. What else the place had is gone. `header`, which may be empty, is kept beside the image.
  ///
  /// `.damaged`: less than `offset` bytes are there. `.noSpace`: there is no room for all `byteCount` bytes, of which
  /// `offset` are there. `.readOnly`: nothing can be written, or the place is what runs.
  mutating func prepareImage(
    _ place: FirmwarePlace, header: Span<UInt8>, byteCount: UInt64, from offset: UInt64
  ) -> StorageAnswer

  /// Writes `bytes`, 1 to `FirmwareLimits.writeBytesMax`, at `offset` of the place that has been prepared. `.done`:
  /// they need not be durable. `.failed`: the place has to be prepared again.
  mutating func writeImage(at offset: UInt64, _ bytes: Span<UInt8>) -> StorageAnswer

  /// Waits until all that was written is durable.
  mutating func flushImage() -> StorageAnswer

  /// Ends the image at `byteCount` bytes, makes a slot executable, and waits until all of it, its header and its name
  /// are durable. The place is to be prepared again before it is written to.
  mutating func finishImage(byteCount: UInt64) -> StorageAnswer

  /// Reads `byteCount` bytes of what is at `place`, past the cache where that can be had, and gives their SHA-256.
  /// `.damaged`: there are fewer, or more.
  mutating func readBackImage(
    _ place: FirmwarePlace, byteCount: UInt64, _ digest: inout InlineArray<32, UInt8>
  ) -> StorageAnswer

  /// Removes what is at `place`, which may be nothing. `.readOnly`: it cannot be, or it is what runs.
  mutating func discardImage(_ place: FirmwarePlace) -> StorageAnswer

  // MARK: Slots

  /// The slot whose program this is; nil for the packaged one.
  func runningSlot() -> FirmwarePlace?

  /// Whether a supervisor has started this program, which will see to its successor.
  func isSupervised() -> Bool

  /// Appends both copies of the slot record to `buffer`, `2 * FirmwareLimits.slotRecordBytes`, with zeros for what is
  /// not there. `.notFound`: there are none.
  mutating func readSlotRecord(into buffer: inout ByteBuffer) -> StorageAnswer

  /// Replaces copy `index`, 0 or 1, of the slot record, waits until it is durable and reads it back. The other copy is
  /// not touched, whatever happens. `.damaged`: it was not as it was written.
  mutating func replaceSlotRecord(copy index: Int, _ content: Span<UInt8>) -> StorageAnswer

  // MARK: Installing

  /// Starts the configured program with `version` in its environment. Its arguments are the path of the image, or the
  /// name of another task, and the slot `place` where the task is about one. None may be running.
  ///
  /// - Returns: whether something has been started; what it comes to `pollInstaller` tells.
  mutating func startInstaller(_ task: InstallerTask, _ place: FirmwarePlace, version: Span<UInt8>) -> Bool

  /// Appends what the installer has written to `output`, as far as it fits, and says whether it has ended. The host
  /// wakes the loop when there is news. To be called until it has ended.
  mutating func pollInstaller(output: inout ByteBuffer) -> ProgramState

  /// Kills what was started. `pollInstaller` tells its end.
  mutating func stopInstaller()

  /// Has the program end, once the agent has, in the way by which its supervisor knows what to do.
  mutating func endForSupervisor(_ end: SupervisedEnd)
}

/// Why there can be no firmware.
public enum FirmwareObstacle: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// There is no state folder.
  case notFound
  /// It may not be written to.
  case notPermitted
  /// It is on a file system that is read-only.
  case readOnly
  /// It is in memory: after a restart nothing would be known of the update that asked for it.
  case volatile
  /// Programs in it may not be executed.
  case noExecution
  /// No key can be read that an image could be signed with.
  case noKey
  /// Nobody would go back to the program that runs now: `mote supervise` has not started it.
  case notSupervised

  /// The word for a log line.
  public var name: StaticString {
    switch self {
    case .notFound: "not-found"
    case .notPermitted: "not-permitted"
    case .readOnly: "read-only"
    case .volatile: "volatile"
    case .noExecution: "no-execution"
    case .noKey: "no-key"
    case .notSupervised: "not-supervised"
    }
  }
}

/// Why a program gives itself up to its supervisor.
public enum SupervisedEnd: UInt8, Sendable, BitwiseCopyable {
  /// Another slot is to be tried, or the slots have changed otherwise.
  case slotsChanged
  /// This is a trial, and not of the program that should be tried, or it cannot do its work.
  case trialFailed
}
