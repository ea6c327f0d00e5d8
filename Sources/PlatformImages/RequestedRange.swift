// Downloads that go on where they broke off.

/// The part of a file that a `Range` header asks for (RFC 9110, section 14.2).
public enum RequestedRange: Equatable, Sendable {
  /// All of it: no header, or one that is to be ignored.
  case whole
  /// These bytes.
  case part(Range<Int64>)
  /// None that there are.
  case unsatisfiable

  /// What `header` asks for of a file of so many bytes. Only a single range is understood.
  public init(_ header: String?, of byteCount: Int64) {
    guard let header, header.hasPrefix("bytes=") else {
      self = .whole
      return
    }
    let ends = header.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count == 2, !header.contains(","), ends.allSatisfy(isNumberOrNothing) else {
      self = .whole
      return
    }
    switch (Int64(ends[0]), Int64(ends[1])) {
    case (let first?, let last?) where first > last: self = .whole
    case (let first?, let last):
      let end = last.map { min($0, byteCount - 1) + 1 } ?? byteCount
      self = first < byteCount ? .part(first..<end) : .unsatisfiable
    case (nil, let count?): self = count > 0 ? .part(max(0, byteCount - count)..<byteCount) : .unsatisfiable
    case (nil, nil): self = .whole
    }
  }
}

private func isNumberOrNothing(_ text: Substring) -> Bool {
  text.isEmpty || (text.utf8.allSatisfy { (0x30...0x39).contains($0) } && Int64(text) != nil)
}
