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

  /// Its address as twelve lower-case hexadecimal digits, where it is the one that a real device came with: one that
  /// was made up or borrowed is another one tomorrow. Nil also where it is of zeros, or no EUI-48.
  var permanentAddress: InlineArray<12, UInt8>? {
    // NET_ADDR_PERM and ARPHRD_ETHER of linux/netdevice.h and if_arp.h. What is made of software has no device.
    guard attribute("/addr_assign_type").equals(("0" as StaticString).bytes),
      attribute("/type").equals(("1" as StaticString).bytes), has("/device")
    else { return nil }
    let text = attribute("/address")
    guard text.count == 17 else { return nil }
    var digits = InlineArray<12, UInt8>(repeating: 0)
    var count = 0
    var isZero = true
    for position in 0..<17 {
      let byte = text.byte(position).lowercased
      if position % 3 == 2 {
        guard byte == UInt8(ascii: ":") else { return nil }
        continue
      }
      guard byte.isDigit || (byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "f")) else { return nil }
      if byte != UInt8(ascii: "0") { isZero = false }
      digits[count] = byte
      count += 1
    }
    return isZero ? nil : digits
  }

  /// How well it stands for the machine, the lowest best: one with a wire before one without, one that belongs to the
  /// board before one that was plugged in.
  var rank: Int {
    var path = PathText(copying: folder)
    path.append("/device/subsystem")
    let isPluggedIn = System.nameOfLinkTarget(path)?.equals(("usb" as StaticString).bytes) ?? false
    return (has("/wireless") || has("/phy80211") ? 2 : 0) + (isPluggedIn ? 1 : 0)
  }

  private func has(_ suffix: StaticString) -> Bool {
    var path = PathText(copying: folder)
    path.append(suffix)
    return System.status(of: path) != nil
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
  /// Appends the permanent address of a network device as twelve lower-case hexadecimal digits: of the best ones, the
  /// lowest. In which order devices were found makes no difference, as that differs from boot to boot.
  ///
  /// - Returns: whether there is such a device.
  public func appendPermanentAddress(to buffer: inout ByteBuffer) -> Bool {
    var best: InlineArray<12, UInt8>?
    var bestRank = Int.max
    var index = 0
    while let interface = NetworkInterfaces.next(after: index, self) {
      index = interface.index
      guard let address = interface.permanentAddress else { continue }
      let rank = interface.rank
      if rank > bestRank { continue }
      if rank == bestRank, let best, !isLower(address, than: best) { continue }
      best = address
      bestRank = rank
    }
    guard let best else { return false }
    buffer.append(best.span)
    return true
  }

  private func isLower(_ left: InlineArray<12, UInt8>, than right: InlineArray<12, UInt8>) -> Bool {
    for index in left.indices where left[index] != right[index] { return left[index] < right[index] }
    return false
  }
}
