// Which user this process is.

import Bytes
import CLinux

/// The user that this process runs as, by whose rights files are looked at.
public enum ProcessUser {
  /// Appends `mote (999)`, or the number alone where /etc/passwd has no name for it or does not fit into `users`.
  @inline(never)
  public static func append(to text: inout ByteBuffer, reading users: inout ByteBuffer) {
    let number = UInt64(geteuid())
    let start = text.count
    do throws(FileFailure) {
      try Files.read(("/etc/passwd" as StaticString).bytes, into: &users)
      text.append(users.span.extracting(name(of: number, in: users.span)))
    } catch {
      // Then it goes by its number.
    }
    let hasName = text.count > start
    if hasName { text.append(" (") }
    text.append(decimal: Int(number))
    if hasName { text.append(UInt8(ascii: ")")) }
  }

  /// The number of a user (/etc/passwd) or a group (/etc/group), which `name` may be itself; nil where there is none.
  @inline(never)
  public static func number(
    of name: Span<UInt8>, in file: StaticString, reading names: inout ByteBuffer
  ) -> Int64? {
    if let number = parseUnsigned(name) { return number < UInt64(UInt32.max) ? Int64(number) : nil }
    names.removeAll()
    do throws(FileFailure) { try Files.read(file.bytes, into: &names) } catch { return nil }
    // NAME:x:NUMBER:…, in both of them.
    var start = 0
    while start < names.count {
      let end = names.span.firstIndex(of: UInt8(ascii: "\n"), from: start) ?? names.count
      let line = names.span.extracting(start..<end)
      if let first = line.firstIndex(of: UInt8(ascii: ":")), line.extracting(0..<first).equals(name),
        let second = line.firstIndex(of: UInt8(ascii: ":"), from: first + 1),
        let third = line.firstIndex(of: UInt8(ascii: ":"), from: second + 1)
      {
        return parseUnsigned(line.extracting((second + 1)..<third)).map { Int64(truncatingIfNeeded: $0) }
      }
      start = end + 1
    }
    return nil
  }

  /// Where the name stands in lines like `NAME:x:NUMBER:…`, as passwd(5) has them; empty where none has the number.
  private static func name(of number: UInt64, in users: Span<UInt8>) -> Range<Int> {
    var start = 0
    while start < users.count {
      let end = users.firstIndex(of: UInt8(ascii: "\n"), from: start) ?? users.count
      let line = users.extracting(start..<end)
      if let first = line.firstIndex(of: UInt8(ascii: ":")),
        let second = line.firstIndex(of: UInt8(ascii: ":"), from: first + 1),
        let third = line.firstIndex(of: UInt8(ascii: ":"), from: second + 1),
        parseUnsigned(line.extracting((second + 1)..<third)) == number
      {
        return start..<(start + first)
      }
      start = end + 1
    }
    return 0..<0
  }
}
