// By which addresses others of the network reach this machine.

import Glibc
import NIOCore

/// An address of this machine that is not its loopback's, nor of one link only.
public struct LocalAddress: Equatable, Sendable {
  /// As text.
  public let text: String
  /// Its 4 or 16 bytes.
  public let bytes: [UInt8]
  /// The interface that has it.
  public let interface: String
  /// Whether it is one of IPv4.
  public var isIPv4: Bool { bytes.count == 4 }
}

/// This machine's addresses as they are now, those of IPv4 first. Interfaces of containers and virtual machines are
/// behind the others.
///
/// - Throws: what the system says.
public func localAddresses() throws -> [LocalAddress] {
  let found = try System.enumerateDevices().compactMap { device -> LocalAddress? in
    guard let address = device.address, let text = address.ipAddress, let bytes = bytes(address) else { return nil }
    let isLoopback = bytes.count == 4 ? bytes[0] == 127 : bytes == Array(repeating: 0, count: 15) + [1]
    // fe80::/10 and 169.254.0.0/16 are good on one link only, and need its name besides.
    let isOfLink = bytes.count == 4 ? bytes[0] == 169 && bytes[1] == 254 : bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80
    return isLoopback || isOfLink ? nil : LocalAddress(text: text, bytes: bytes, interface: device.name)
  }
  func rank(_ address: LocalAddress) -> Int {
    let isVirtual = ["docker", "br-", "veth", "virbr", "vnet"].contains { address.interface.hasPrefix($0) }
    return (address.isIPv4 ? 0 : 2) + (isVirtual ? 1 : 0)
  }
  return found.enumerated().sorted { (rank($0.element), $0.offset) < (rank($1.element), $1.offset) }.map(\.element)
}

/// The 4 or 16 bytes of an address; nil for what is none.
public func addressBytes(_ text: String) -> [UInt8]? {
  (try? SocketAddress(ipAddress: text, port: 0)).flatMap(bytes)
}

private func bytes(_ address: SocketAddress) -> [UInt8]? {
  switch address {
  case .v4(let address): withUnsafeBytes(of: address.address.sin_addr) { Array($0) }
  case .v6(let address): withUnsafeBytes(of: address.address.sin6_addr) { Array($0) }
  case .unixDomainSocket: nil
  }
}

/// This machine's name, and that by which networks without a name server find it (mDNS, RFC 6762); empty where it has
/// none that a certificate could have.
public func localNames() -> [String] {
  var buffer = [CChar](repeating: 0, count: 256)
  guard gethostname(&buffer, buffer.count - 1) == 0 else { return [] }
  let name = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).lowercased()
  let isName =
    !name.isEmpty && name.utf8.count <= 200
    && name.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2D || $0 == 0x2E }
  guard isName, name != "localhost" else { return [] }
  return name.contains(".") ? [name] : [name, name + ".local"]
}
