// An image on its way: what the transfer brings goes to its receiver, and where that wants to go on, the transfer does.

import AgentConfiguration
import Bytes
import Firmware
import HostInterface

/// What has become of an image in a turn.
enum IntakeAnswer {
  /// It goes on.
  case pending
  /// More of it is durable, and the job says so.
  case checkpoint
  /// All of it is on flash, and is what it should be.
  case verified
  /// It never will be.
  case failed(UpdateStatus, StaticString)
}

/// A transfer and its receiver.
struct Intake: ~Copyable {
  private let pinned = Pinned()
  private var download: Download
  private var receiver: ImageReceiver
  /// How many blocks were durable when the job was last told.
  private var checkpointIndex: UInt64 = 0
  /// Whether there is more to do at once.
  private(set) var hasMore = false
  /// Whether the job knows which image it is.
  private var isKnown = false

  init(isUsed: Bool, in arena: inout Arena) {
    download = Download(isUsed: isUsed, in: &arena)
    receiver = ImageReceiver(isUsed: isUsed, in: &arena)
  }

  /// When time alone moves it on.
  var deadline: Instant { download.deadline }

  /// Begins with the image of `job`, or goes on with it.
  mutating func begin(_ job: borrowing FirmwareJob, at place: FirmwarePlace, _ now: Instant) {
    let stored = job.text(.checkpoint)
    receive(job, at: place, stored.count == ImageCheckpoint.byteCount ? ImageCheckpoint(stored) : nil)
    download.begin(job.text(.uri), at: 0, now)
  }

  @inline(never)  // small code
  private mutating func receive(
    _ job: borrowing FirmwareJob, at place: FirmwarePlace, _ checkpoint: ImageCheckpoint?
  ) {
    checkpointIndex = checkpoint?.chain.index ?? 0
    isKnown = false
    receiver.begin(place, version: job.text(.version), verifier: job.text(.verifier), checkpoint: checkpoint)
  }

  /// Moves it forward: a block at a time, and what follows from it.
  ///
  /// - Parameter certificateTime: what a server's certificate is checked against.
  mutating func advance<H: Host & ~Copyable>(
    _ job: inout FirmwareJob, _ settings: borrowing Settings, _ slots: SlotRecord, certificateTime: WallTime,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> IntakeAnswer {
    hasMore = false
    download.advance(settings, certificateTime: certificateTime, now, &log, &host)
    switch download.state {
    case .failed(let failure):
      return .failed(UpdateStatus(rawValue: UInt8(failure.updateStatus)) ?? .connectionLost, failure.name)
    case .changed:
      // What there is belongs to another file.
      receive(job, at: receiver.place, nil)
      download.seek(to: 0, now, &host)
    case .idle, .waiting, .receiving, .complete: break
    }
    for _ in 0..<AgentLimits.imageStepsMax {
      let isComplete = download.state == .complete
      let answer = receiver.take(
        download.body, isComplete: isComplete, total: download.byteCount, settings, slots, &host)
      switch answer {
      case .took(let count):
        download.consume(count)
        if count == 0, download.body.isEmpty, !isComplete { return note(in: &job) }
      case .pending: return note(in: &job)
      case .wants(let offset): download.seek(to: offset, now, &host)
      case .verified:
        stop(&host)
        job.setTarget(receiver.imageDigest.bytes.span, byteCount: receiver.imageByteCount)
        if job.text(.version).isEmpty { job.set(.version, receiver.bundleVersion) }
        return .verified
      case .failed(let status, let reason):
        return .failed(UpdateStatus(rawValue: UInt8(status)) ?? .unsupportedImage, reason)
      }
    }
    hasMore = true
    return note(in: &job)
  }

  /// Tells the job how much is durable.
  private mutating func note(in job: inout FirmwareJob) -> IntakeAnswer {
    if !isKnown, let bundle = receiver.bundle {
      isKnown = true
      job.setTarget(bundle.imageDigest.bytes.span, byteCount: bundle.blocks.imageByteCount)
      return .checkpoint
    }
    guard let checkpoint = receiver.checkpoint, checkpoint.chain.index != checkpointIndex else { return .pending }
    checkpointIndex = checkpoint.chain.index
    job.set(checkpoint)
    return .checkpoint
  }

  /// The slot record learns what is at `place`.
  func note(in record: inout SlotRecord, _ place: FirmwarePlace) {
    record.noteVerified(
      place, receiver.imageDigest, version: receiver.bundleVersion,
      securityVersion: receiver.bundle?.securityVersion ?? 0)
  }

  /// Ends the transfer. What has come stays where it is.
  mutating func stop<H: HostLinks & ~Copyable>(_ host: inout H) {
    download.stop(&host)
    receiver.stop()
  }
}
