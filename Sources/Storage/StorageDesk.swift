// Who is served when: one operation at a time, as `HostStorage` promises. The device and the simulator share it.

import HostInterface

/// An operation with what tells it from others. Its bytes are not part of it.
public struct StorageOperation: Equatable, Sendable, BitwiseCopyable {
  /// What is to be done.
  public enum Kind: UInt8, Sendable, BitwiseCopyable {
    /// Records.
    case readRecord, replaceRecord
    /// Segments.
    case append, appendAndFlush, read, find, delete, setAside
  }

  private let kind: Kind
  // The raw value of a record or series, and for a segment its number and the offset.
  private let subject: UInt8
  private let number: UInt64
  private let offset: Int

  /// An operation on a record.
  public init(_ kind: Kind, _ record: StorageRecord) {
    self.kind = kind
    subject = record.rawValue
    number = 0
    offset = 0
  }

  /// An operation on a segment, or on all from one on.
  public init(_ kind: Kind, _ segment: StorageSegment, at offset: Int = 0) {
    self.kind = kind
    subject = segment.series.rawValue
    number = segment.number
    self.offset = offset
  }
}

/// The state between questions and answers.
public struct StorageDesk: Sendable, BitwiseCopyable {
  private enum Phase: UInt8, BitwiseCopyable {
    /// Nothing is under way.
    case free
    /// `operation` is under way.
    case busy
    /// `operation` has ended with `answer`, which nobody has fetched.
    case ended
    /// What was under way was given up and has not ended: nothing else may begin, or two would write at once.
    case stuck
  }

  private var phase = Phase.free
  private var operation: StorageOperation?
  private var answer = StorageAnswer.failed
  /// Whether somebody was sent away because of somebody else.
  private var hasWaiting = false

  /// Nothing is under way.
  public init() {}

  /// Whether nothing is under way, ended, or waited for.
  public var isIdle: Bool { phase == .free && !hasWaiting }

  /// Whether an operation is under way.
  public var isBusy: Bool { phase == .busy }

  /// Takes a question.
  ///
  /// - Returns: what to answer; nil when `asked` is to be begun now, which makes it the one under way.
  public mutating func ask(_ asked: StorageOperation) -> StorageAnswer? {
    switch phase {
    case .free:
      phase = .busy
      operation = asked
      return nil
    case .busy, .ended:
      let isOwner = operation == asked
      if isOwner, phase == .ended {
        phase = .free
        return answer
      }
      if !isOwner { hasWaiting = true }
      return .pending
    case .stuck: return .failed
    }
  }

  /// What is under way has ended. Not the news of an operation that was given up: its owner has been told.
  public mutating func end(_ answer: StorageAnswer) {
    precondition(answer != .pending)
    phase = phase == .stuck ? .free : .ended
    self.answer = answer
  }

  /// What is under way takes too long and is given up; until `end`, everything fails.
  public mutating func giveUp() { phase = .stuck }

  /// A turn of the loop is over: an answer that nobody has fetched is forgotten.
  ///
  /// - Returns: whether the next turn must follow at once, because somebody was sent away who could begin now.
  public mutating func endTurn() -> Bool {
    if phase == .ended { phase = .free }
    let isOwed = hasWaiting && phase == .free
    hasWaiting = false
    return isOwed
  }
}
