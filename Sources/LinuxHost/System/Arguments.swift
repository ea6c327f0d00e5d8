// The command line.

import Bytes

/// The words of the command line, as the C library hands them to `main`.
public struct Arguments: ~Copyable {
  // DEVIATION(unsafe-pointer): argv belongs to the process and never goes away.
  private let words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  /// How many words there are, the program's name included.
  public let count: Int

  /// Takes the two arguments of `main`.
  public init(count: Int32, words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) {
    self.words = words
    self.count = Int(count)
  }

  /// The words from `index` on, and a null behind them.
  func words(from index: Int) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> {
    precondition(index >= 0 && index < count)
    return words + index
  }

  /// The word at `index`, 0 being the program's name.
  public subscript(index: Int) -> Span<UInt8> {
    @_lifetime(borrow self)
    get {
      precondition(index >= 0 && index < count)
      guard let word = words[index] else { return _overrideLifetime(Span(), borrowing: self) }
      return _overrideLifetime(CString(word).span, borrowing: self)
    }
  }
}
