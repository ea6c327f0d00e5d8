// Keeping the firmware job: what was promised to the server is written before the server hears of it.
//
// A record must not change while it is being written, and requests come when they like. So the job changes at once, a
// copy of it is what is written, and answers that depend on it are held until a copy that has their change is durable.
// Where it cannot be, the job is again what it was, and the server is told that in their place.

import Bytes
import HostInterface

/// The job, and its way to the flash.
struct JobStore: ~Copyable {
  private let pinned = Pinned()
  /// What is known. Whoever changes it says so with `noteChange`.
  var job: FirmwareJob
  /// What it goes back to where a promise cannot be kept: what is durable, and what has happened since.
  private var saved: ByteBuffer
  /// What is being written.
  private var written: ByteBuffer
  private var isWriting = false
  private var isChanged = false
  /// How much of what is held what is being written has to do with.
  private var heldCount = 0
  /// Whether the last writing failed.
  private(set) var hasFailed = false
  /// When what could not be written is tried again.
  private var retryFrom = Instant(milliseconds: .min)

  init(isSupported: Bool, in arena: inout Arena) {
    let byteCount = isSupported ? StorageRecord.firmware.bytesMax : 0
    job = FirmwareJob(isSupported: isSupported, in: &arena)
    saved = ByteBuffer(capacity: byteCount, for: "firmware", in: &arena)
    written = ByteBuffer(capacity: byteCount, for: "firmware", in: &arena)
  }

  /// Whether what is known is durable, as far as can be.
  var isSettled: Bool { !isWriting && (!isChanged || retryFrom > Instant(milliseconds: .min)) }

  /// Whether something may go on in any turn of the loop.
  var isBusy: Bool { isWriting || (isChanged && retryFrom == Instant(milliseconds: .min)) }

  /// When time alone moves it on.
  var deadline: Instant { isChanged && !isWriting ? retryFrom : .never }

  /// The job has changed.
  mutating func noteChange() {
    isChanged = true
    retryFrom = Instant(milliseconds: .min)
  }

  /// The job has changed by what has happened, which nothing takes back.
  mutating func noteEvent() {
    keep()
    noteChange()
  }

  /// Reads the job.
  mutating func read<H: HostStorage & ~Copyable>(_ host: inout H) -> StorageAnswer {
    let answer = job.read(&host)
    if answer != .pending { keep() }
    return answer
  }

  private mutating func keep() {
    saved.removeAll()
    saved.append(job.record)
  }

  /// Writes the job if it has changed.
  ///
  /// - Returns: what has become of it; `.pending` where nothing has ended.
  mutating func advance<H: HostStorage & HostLog & ~Copyable>(
    _ answers: inout Answers, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> StorageAnswer {
    if !isWriting {
      guard isChanged, now >= retryFrom else { return .pending }
      written.removeAll()
      written.append(job.record)
      isWriting = true
      isChanged = false
      heldCount = answers.heldCount
    }
    let answer = host.replaceRecord(.firmware, written.span)
    guard answer != .pending else { return answer }
    isWriting = false
    hasFailed = answer != .done
    if answer == .done {
      saved.removeAll()
      saved.append(written)
      answers.release(heldCount, &log, &host)
      return answer
    }
    log.write(.warning, "firmware not-stored", "reason", answer.name, to: &host)
    if answers.heldCount > 0 {
      job.copy(saved)
      answers.release(answers.heldCount, refusal: answer.name, &log, &host)
    }
    // It may have had its effect all the same.
    isChanged = true
    retryFrom = now + AgentLimits.storageRetryPause
    return answer
  }
}
