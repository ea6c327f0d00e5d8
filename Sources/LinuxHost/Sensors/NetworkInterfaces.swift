// Network interfaces: /sys/class/net/NAME, with `ifindex`, `type` and `address`.

import Bytes

/// One network interface.
struct NetworkInterface: ~Copyable {
  let index: Int
  let name: PathText
  let folder: PathText

  /// Whether it leads nowhere but back: ARPHRD_LOOPBACK of linux/if_arp.h.
  var isLoopback: Bool { attribute("/type").equals(("772" as StaticString).bytes) }

  /// The text of one of its attributes, empty when there is none.
  func attribute(_ suffix: StaticString) -> PathText {
    readAttribute(suffix, of: folder) ?? PathText()
  }

  /// Appends its address as twelve lower-case hexadecimal digits; false when it has none, one of zeros, or one that is
  /// no EUI-48.
  func appendAddress(to buffer: inout ByteBuffer) -> Bool {
    let text = attribute("/address")
    guard text.count == 17 else { return false }
    var digits = InlineArray<12, UInt8>(repeating: 0)
    var count = 0
    var isZero = true
    for position in 0..<17 {
      let byte = text.byte(position).lowercased
      if position % 3 == 2 {
        guard byte == UInt8(ascii: ":") else { return false }
        continue
      }
      guard byte.isDigit || (byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "f")) else { return false }
      if byte != UInt8(ascii: "0") { isZero = false }
      digits[count] = byte
      count += 1
    }
    guard !isZero else { return false }
    buffer.append(digits.span)
    return true
  }
}

/// All network interfaces, in the order in which the kernel got to know them.
enum NetworkInterfaces {
  /// The interface with the lowest index above `index`. Looks at the whole folder, which has some dozens at most.
  static func next(after index: Int, _ roots: borrowing MachineRoots) -> NetworkInterface? {
    let folder = roots.classPath("net")
    var best = Int.max
    var bestName = PathText()
    Directory.forEachEntry(of: folder) { name in
      guard let candidate = interfaceIndex(of: name, in: folder), candidate > index, candidate < best else {
        return true
      }
      best = candidate
      bestName = PathText(name)
      return true
    }
    guard best < Int.max else { return nil }
    var path = PathText(copying: folder)
    path.append("/")
    path.append(bestName)
    return NetworkInterface(index: best, name: bestName, folder: path)
  }

  private static func interfaceIndex(of name: Span<UInt8>, in folder: borrowing PathText) -> Int? {
    var path = PathText(copying: folder)
    path.append("/")
    path.append(name)
    path.append("/ifindex")
    guard let text = readAttribute(path) else { return nil }
    return text.withBytes { parseUnsigned($0) }.flatMap { Int(exactly: $0) }
  }
}

extension MachineRoots {
  /// Appends the address of the first network interface that has one, as twelve lower-case hexadecimal digits.
  ///
  /// - Returns: whether there is such an interface.
  public func appendFirstInterfaceAddress(to buffer: inout ByteBuffer) -> Bool {
    var index = 0
    while let interface = NetworkInterfaces.next(after: index, self) {
      if !interface.isLoopback, interface.appendAddress(to: &buffer) { return true }
      index = interface.index
    }
    return false
  }
}
