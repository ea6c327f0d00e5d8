// The certificate authorities that are trusted: a PEM file, or a folder of such. A system's bundle has 150 certificates
// and 200 KB, of which a connection needs one. So nothing is loaded: when a chain asks for an issuer, the file streams
// through a small buffer, and the certificates whose subject is that issuer are handed to mbedTLS. Of a file it is kept
// where its certificates are, so that this happens once.

import Bytes
import CLinux
import CMbedTLS

/// Where trusted certificates are looked up. The callback of TLS holds a pointer to it, so it lives in start-up memory
/// and never moves.
struct TrustStore: ~Copyable {
  /// Empty for the system's store.
  private var path = PathText()
  private var reader: PEMReader
  private var index: TrustIndex
  /// How many certificates the present look-up knows of, and how many of them matched.
  private var seenCount = 0
  private var foundCount = 0
  /// How many chunks of files have been read, in all look-ups.
  private(set) var readCount = 0
  /// How old a version of a file is before its index is kept: two changes within this time may leave the same version,
  /// since file systems count time in steps, FAT in those of two seconds.
  var versionAgeMin = TimeSpan.seconds(3)
  /// Why the last look-up could not begin.
  private(set) var openFailure: Errno?
  /// Whether the last look-up found no certificate at all, matching or not.
  var isUnreadable = false

  /// How many chunks of a file are looked at: ten times a system's bundle.
  static var chunksMax: Int { 2048 }
  /// In how many chunks a certificate is whole, four times over: blanks and long headers take room.
  static var certificateChunksMax: Int { 16 }
  /// How many files of a folder are looked at.
  static var filesMax: Int { 1024 }
  /// How many certificates with the same subject are tried: renewed and cross-signed ones.
  static var foundMax: Int { 6 }

  /// Begins with the system's store.
  @inline(never)
  init(from arena: inout Arena) throws(ArenaExhausted) {
    let newReader = try PEMReader(PEMReader.certificateLine, for: "tls trust", from: &arena)
    index = try TrustIndex(for: "tls trust", from: &arena)
    reader = newReader
  }

  /// Looks in another place from now on; empty means the system's store.
  @inline(never)
  mutating func use(_ path: Span<UInt8>) { self.path = PathText(path) }

  /// Whether this is where it looks.
  func uses(_ path: Span<UInt8>) -> Bool { self.path.equals(path) }

  /// Hands the trusted certificates whose subject is `issuer`, a DER Name, to mbedTLS. False if there are no
  /// certificates at all. Without `found` it only looks whether there are.
  @inline(never)
  mutating func find(_ issuer: Span<UInt8>, into found: OpaquePointer?) -> Bool {
    find(issuer) { certificate in
      certificate.withUnsafeBufferPointer { bytes in
        guard let found, let start = bytes.baseAddress else { return false }
        return mote_tls_add_certificate(found, start, bytes.count)
      }
    }
  }

  /// Hands the trusted certificates whose subject is `issuer` to `take`, which says whether it could use them.
  mutating func find(_ issuer: Span<UInt8>, _ take: (Span<UInt8>) -> Bool) -> Bool {
    seenCount = 0
    foundCount = 0
    openFailure = nil
    let place = presentPath
    do throws(Errno) {
      let descriptor = try System.openForReading(place)
      defer { System.close(descriptor) }
      guard let status = System.status(of: descriptor) else { throw .last }
      switch status.kind {
      case S_IFREG: searchFile(descriptor, FileVersion(status), issuer, take)
      case S_IFDIR: searchFolder(place, issuer, take)
      default: search(descriptor, issuer, take)
      }
    } catch {
      openFailure = error
    }
    isUnreadable = seenCount == 0
    return !isUnreadable
  }

  /// Whether a certificate was passed over for its size.
  var hasTooLarge: Bool { reader.hasTooLarge }

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

  /// Looks into the one file that is the store: where the index says, or everywhere, if that is not of what the file is
  /// now.
  private mutating func searchFile(
    _ descriptor: Int32, _ version: FileVersion, _ issuer: Span<UInt8>, _ take: (Span<UInt8>) -> Bool
  ) {
    if index.isOf(version) {
      seenCount = index.entries.count
      if searchIndexed(descriptor, issuer, take) { return }
      // It is not what it was after all. What has been found is good nevertheless.
      index.removeAll()
      guard foundCount == 0, System.seek(descriptor, to: 0) else { return }
      seenCount = 0
    }
    let now = WallTime(milliseconds: System.wallMilliseconds())
    index.removeAll()
    reader.hasTooLarge = false
    guard search(descriptor, issuer, take, isIndexing: true), let status = System.status(of: descriptor) else { return }
    if version.isAway(from: now, by: versionAgeMin), FileVersion(status) == version { index.finish(as: version) }
  }

  /// Reads the certificates that the index has for `issuer`. False if one of them is not there.
  private mutating func searchIndexed(
    _ descriptor: Int32, _ issuer: Span<UInt8>, _ take: (Span<UInt8>) -> Bool
  ) -> Bool {
    let hash = DER.hash(ofName: issuer)
    for position in 0..<index.entries.count where index.entries[position].subjectHash == hash {
      let offset = Int(index.entries[position].offset)
      guard readCertificate(descriptor, at: offset) else { return false }
      offer(issuer, take)
      if foundCount >= TrustStore.foundMax { break }
    }
    return true
  }

  /// Reads the certificate that begins at `offset`; false if none does.
  private mutating func readCertificate(_ descriptor: Int32, at offset: Int) -> Bool {
    guard System.seek(descriptor, to: offset) else { return false }
    reader.reset(at: offset)
    for _ in 0..<TrustStore.certificateChunksMax {
      do throws(Errno) {
        guard try reader.fill(from: descriptor) else { return false }
      } catch { return false }
      readCount += 1
      if reader.next() { return reader.contentOffset == offset }
    }
    return false
  }

  /// Streams one file. Handles at most `chunksMax` chunks. True if it came to the end.
  @discardableResult
  @inline(never)
  private mutating func search(
    _ descriptor: Int32, _ issuer: Span<UInt8>, _ take: (Span<UInt8>) -> Bool, isIndexing: Bool = false
  ) -> Bool {
    reader.reset()
    for _ in 0..<TrustStore.chunksMax {
      do throws(Errno) {
        guard try reader.fill(from: descriptor) else { return true }
      } catch { return false }
      readCount += 1
      while reader.next() {
        seenCount += 1
        if isIndexing { addToIndex() }
        if foundCount < TrustStore.foundMax { offer(issuer, take) }
        if foundCount >= TrustStore.foundMax, !isIndexing { return false }
      }
    }
    return false
  }

  /// Adds the certificate that was read. One without a subject is nobody's issuer.
  private mutating func addToIndex() {
    guard let subject = DER.subject(of: reader.content) else { return }
    let hash = DER.hash(ofName: reader.content.extracting(subject))
    index.append(TrustIndex.Entry(subjectHash: hash, offset: UInt32(truncatingIfNeeded: reader.contentOffset)))
  }

  /// Hands over the certificate that was read, if its subject is `issuer`.
  @inline(never)  // or else it is copied into each of its callers
  private mutating func offer(_ issuer: Span<UInt8>, _ take: (Span<UInt8>) -> Bool) {
    guard let subject = DER.subject(of: reader.content) else { return }
    guard DER.isSameName(reader.content.extracting(subject), issuer) else { return }
    if take(reader.content) { foundCount += 1 }
  }

  /// Streams the files of a folder whose names end like certificates do. The links that OpenSSL adds beside them, named
  /// after a hash, would show each certificate again.
  private mutating func searchFolder(
    _ folder: borrowing PathText, _ issuer: Span<UInt8>, _ take: (Span<UInt8>) -> Bool
  ) {
    var filesLeft = TrustStore.filesMax
    reader.hasTooLarge = false
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
        search(descriptor, issuer, take)
        System.close(descriptor)
      } catch {
        // One file that cannot be read does not spoil the others.
      }
      return filesLeft > 0 && foundCount < TrustStore.foundMax
    }
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
