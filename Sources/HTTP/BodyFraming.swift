// Which of the bytes behind the head of an answer are the file (RFC 9112, sections 6 and 7).

import Bytes

/// Tells a body from what is around it. Both take turns: `takeFraming` passes over framing, `bodyCount` says how many
/// bytes of body are there then, `takeBody` counts them off.
public struct BodyFraming: BitwiseCopyable, Sendable {
  private enum Phase: BitwiseCopyable {
    /// Bytes of the body come next.
    case body
    /// The line before a chunk comes next.
    case chunkSize
    /// The end of the line behind a chunk comes next.
    case chunkEnd
    /// Fields come next, or the empty line behind them.
    case trailer
    /// All is there.
    case ended
  }

  private var phase: Phase
  private let isChunked: Bool
  /// How many bytes of the body, or of the chunk, are to come; those of a body that lasts until the link ends are more
  /// than there can be.
  private var left: UInt64
  private var trailerBytes = 0

  /// A body of `byteCount` bytes; nil: one that ends with the link.
  public init(byteCount: UInt64?) {
    isChunked = false
    left = byteCount ?? .max
    phase = left == 0 ? .ended : .body
  }

  /// A body in chunks.
  public static var chunked: BodyFraming { BodyFraming(isChunked: true) }

  private init(isChunked: Bool) {
    self.isChunked = isChunked
    left = 0
    phase = .chunkSize
  }

  /// Whether all of the body has been taken, and what may be behind it.
  public var isEnded: Bool {
    if case .ended = phase { return true }
    return false
  }

  /// Whether only the link's end says where the body ends.
  public var lastsUntilClose: Bool { left > 1 << 62 }

  /// How many of the next `count` bytes are body, behind `takeFraming`.
  public func bodyCount(of count: Int) -> Int {
    guard case .body = phase else { return 0 }
    return Int(min(left, UInt64(count)))
  }

  /// Whether nothing that matters comes behind the next `count` bytes.
  public func isAll(in count: Int) -> Bool { isEnded || !isChunked && left <= UInt64(count) }

  /// Counts off `count` bytes of body, at most as many as `bodyCount` says.
  public mutating func takeBody(_ count: Int) {
    left -= UInt64(count)
    if left == 0 { phase = isChunked ? .chunkEnd : .ended }
  }

  /// The link has ended with `count` bytes left in the input.
  ///
  /// - Returns: whether the body ends with them, as far as anybody can tell.
  public mutating func close(with count: Int) -> Bool {
    if lastsUntilClose {
      left = UInt64(count)
      if left == 0 { phase = .ended }
    }
    return isAll(in: count)
  }

  /// How many bytes at the front of `bytes` are framing, and done with.
  public mutating func takeFraming(_ bytes: Span<UInt8>) throws(ResponseFault) -> Int {
    var index = 0
    // Each turn takes a line.
    while isFraming {
      guard let lineEnd = bytes.firstIndex(of: 0x0A, from: index) else {
        if bytes.count - index > HTTPLimits.chunkLineBytesMax { throw .tooLong }
        break
      }
      let line = bytes.withoutReturn(index..<lineEnd)
      switch phase {
      case .chunkEnd:
        guard line.isEmpty else { throw .malformed }
        phase = .chunkSize
      case .chunkSize:
        left = try chunkSize(bytes.extracting(line))
        phase = left == 0 ? .trailer : .body
      default:
        trailerBytes += line.count
        if trailerBytes > HTTPLimits.headBytesMax { throw .tooLong }
        if line.isEmpty { phase = .ended }
      }
      index = lineEnd + 1
    }
    return index
  }

  private var isFraming: Bool {
    switch phase {
    case .body, .ended: false
    case .chunkSize, .chunkEnd, .trailer: true
    }
  }

  /// The size that a line has in hexadecimal digits; what stands behind a semicolon says nothing to us.
  private func chunkSize(_ line: Span<UInt8>) throws(ResponseFault) -> UInt64 {
    var size: UInt64 = 0
    var index = 0
    while index < line.count, let digit = line[index].hexDigitValue {
      guard size < 1 << 56 else { throw .malformed }
      size = size << 4 | UInt64(digit)
      index += 1
    }
    guard index > 0 else { throw .malformed }
    while index < line.count, line[index].isBlank { index += 1 }
    guard index == line.count || line[index] == UInt8(ascii: ";") else { throw .malformed }
    return size
  }
}
