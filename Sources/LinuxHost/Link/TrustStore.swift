// The certificate authorities that are trusted: a PEM file, or a folder of such. A system's bundle has 150 certificates
// and 200 KB, of which a connection needs one. So nothing is loaded: when a chain asks for an issuer, the file streams
// through a small buffer, and the certificates whose subject is that issuer are handed to mbedTLS.

import Bytes
import CLinux
import CMbedTLS

/// Where trusted certificates are looked up. The callback of TLS holds a pointer to it, so it lives in start-up memory
/// and never moves.
struct TrustStore: ~Copyable {
  /// Empty for the system's store.
  private let path: PathText
  private var reader: PEMReader
  /// How many certificates the present look-up has seen, and how many of them matched.
  private var seenCount = 0
  private var foundCount = 0
  /// Whether the last look-up found no certificate at all, matching or not.
  var isUnreadable = false

  /// How many chunks of a file are looked at: ten times a system's bundle.
  static var chunksMax: Int { 2048 }
  /// How many files of a folder are looked at.
  static var filesMax: Int { 1024 }
  /// How many certificates with the same subject are tried: renewed and cross-signed ones.
  static var foundMax: Int { 6 }

  /// `path` is empty for the system's store.
  init(path: Span<UInt8>, from arena: inout Arena) throws(ArenaExhausted) {
    reader = try PEMReader(for: "tls trust", from: &arena)
    self.path = PathText(path)
  }

  /// Hands the trusted certificates whose subject is `issuer`, a DER Name, to `found`. False if there are no
  /// certificates at all.
  mutating func find(_ issuer: Span<UInt8>, into found: OpaquePointer) -> Bool {
    seenCount = 0
    foundCount = 0
    let place = presentPath
    do throws(Errno) {
      let descriptor = try System.openForReading(place)
      var status = stat()
      let isFolder = fstat(descriptor, &status) == 0 && status.kind == S_IFDIR
      if !isFolder { search(descriptor, issuer, found) }
      System.close(descriptor)
      if isFolder { searchFolder(place, issuer, found) }
    } catch {
      // Nothing was seen, and that says it.
    }
    isUnreadable = seenCount == 0
    return !isUnreadable
  }

  /// A number that changes when the store does: a session whose server was checked against another store is not
  /// resumed.
  func fingerprint() -> UInt64 {
    var status = stat()
    let place = presentPath
    guard !place.isTooLong, place.withPointer({ stat($0, &status) }) == 0 else { return 1 }
    var mixed = UInt64(truncatingIfNeeded: status.st_ino) &* 0x9E37_79B9_7F4A_7C15
    mixed = (mixed ^ UInt64(truncatingIfNeeded: status.st_size)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ UInt64(truncatingIfNeeded: status.st_mtim.tv_sec)) &* 0x94D0_49BB_1331_11EB
    mixed ^= UInt64(truncatingIfNeeded: status.st_mtim.tv_nsec)
    return mixed ^ (mixed >> 31)
  }

  /// Appends where the certificates are looked for, in printable characters.
  func appendPath(to line: inout ByteBuffer) {
    let place = presentPath
    for index in 0..<place.count {
      let byte = place.byte(index)
      let isPlain = byte >= 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
      line.append(isPlain ? byte : UInt8(ascii: "?"))
    }
  }

  /// The path that was set, or the first of the places where distributions keep their store that there is.
  private var presentPath: PathText {
    if path.count > 0 { return PathText(copying: path) }
    for index in 0..<systemPlaceCount {
      let place = PathText(systemPlace(index).bytes)
      if place.withPointer({ access($0, R_OK) }) == 0 { return place }
    }
    return PathText(systemPlace(0).bytes)
  }

  /// Streams one file. Handles at most `chunksMax` chunks.
  private mutating func search(_ descriptor: Int32, _ issuer: Span<UInt8>, _ found: OpaquePointer) {
    reader.reset()
    for _ in 0..<TrustStore.chunksMax {
      do throws(Errno) {
        guard try reader.fill(from: descriptor) else { return }
      } catch { return }
      while reader.nextCertificate() {
        seenCount += 1
        if offer(reader.certificate, ifIssuerIs: issuer, to: found) { foundCount += 1 }
        if foundCount >= TrustStore.foundMax { return }
      }
    }
  }

  /// Streams the files of a folder whose names end like certificates do. The links that OpenSSL adds beside them, named
  /// after a hash, would show each certificate again.
  private mutating func searchFolder(_ folder: borrowing PathText, _ issuer: Span<UInt8>, _ found: OpaquePointer) {
    var filesLeft = TrustStore.filesMax
    var file = PathText(copying: folder)
    file.append("/")
    let folderCount = file.count
    Directory.forEachEntry(of: folder) { name in
      guard name.ends(with: ".pem") || name.ends(with: ".crt") || name.ends(with: ".cer") else { return true }
      filesLeft -= 1
      file.truncate(to: folderCount)
      file.append(name)
      do throws(Errno) {
        let descriptor = try System.openForReading(file)
        search(descriptor, issuer, found)
        System.close(descriptor)
      } catch {
        // One file that cannot be read does not spoil the others.
      }
      return filesLeft > 0 && foundCount < TrustStore.foundMax
    }
  }
}

/// Hands `certificate` to mbedTLS if its subject is `issuer`, and tells whether it did.
private func offer(_ certificate: Span<UInt8>, ifIssuerIs issuer: Span<UInt8>, to found: OpaquePointer) -> Bool {
  guard let subject = DER.subject(of: certificate) else { return false }
  guard DER.isSameName(certificate.extracting(subject), issuer) else { return false }
  return certificate.withUnsafeBufferPointer { bytes in
    guard let start = bytes.baseAddress else { return false }
    return mote_tls_add_certificate(found, start, bytes.count)
  }
}

/// How many places there are.
private var systemPlaceCount: Int { 5 }

/// Where distributions keep the certificates of the authorities they trust.
private func systemPlace(_ index: Int) -> StaticString {
  switch index {
  case 0: "/etc/ssl/certs/ca-certificates.crt"  // Debian, Alpine, OpenWrt, Buildroot, Yocto
  case 1: "/etc/pki/tls/certs/ca-bundle.crt"  // Fedora
  case 2: "/etc/ssl/ca-bundle.pem"  // openSUSE
  case 3: "/etc/ssl/cert.pem"
  default: "/etc/ssl/certs"
  }
}

extension Span where Element == UInt8 {
  /// Whether this ends with a literal.
  func ends(with literal: StaticString) -> Bool {
    let suffix = literal.bytes
    return count >= suffix.count && extracting((count - suffix.count)..<count).equals(suffix)
  }
}
