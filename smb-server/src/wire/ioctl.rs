//! IOCTL: file-system controls and pipe transactions. MS-SMB2 2.2.31 and 2.2.32.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;

/// MS-SMB2 2.2.31.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoctlRequest {
    pub ctl_code: CtlCode,
    pub file_id: FileId,
    pub max_input_response: u32,
    pub max_output_response: u32,
    pub flags: IoctlFlags,
    pub input: Vec<u8>,
}

/// MS-SMB2 2.2.32.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoctlResponse {
    pub ctl_code: CtlCode,
    pub file_id: FileId,
    pub flags: u32,
    pub input: Vec<u8>,
    pub output: Vec<u8>,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct IoctlFlags: u32 {
        /// A file-system control; without it, a device control.
        const IS_FSCTL = 0x0000_0001;
    }
}

open_enum! {
    /// MS-SMB2 2.2.31, CtlCode, and MS-FSCC 2.3.
    pub struct CtlCode(u32) {
        FSCTL_DFS_GET_REFERRALS = 0x0006_0194,
        FSCTL_IS_PATHNAME_VALID = 0x0009_002c,
        FSCTL_GET_COMPRESSION = 0x0009_003c,
        FSCTL_SET_COMPRESSION = 0x0009_c040,
        FSCTL_QUERY_FAT_BPB = 0x0009_0058,
        FSCTL_FILESYSTEM_GET_STATISTICS = 0x0009_0060,
        FSCTL_GET_NTFS_VOLUME_DATA = 0x0009_0064,
        FSCTL_GET_RETRIEVAL_POINTERS = 0x0009_0073,
        FSCTL_FIND_FILES_BY_SID = 0x0009_008f,
        FSCTL_SET_OBJECT_ID = 0x0009_0098,
        FSCTL_GET_OBJECT_ID = 0x0009_009c,
        FSCTL_DELETE_OBJECT_ID = 0x0009_00a0,
        FSCTL_SET_REPARSE_POINT = 0x0009_00a4,
        FSCTL_GET_REPARSE_POINT = 0x0009_00a8,
        FSCTL_DELETE_REPARSE_POINT = 0x0009_00ac,
        FSCTL_SET_OBJECT_ID_EXTENDED = 0x0009_00bc,
        FSCTL_CREATE_OR_GET_OBJECT_ID = 0x0009_00c0,
        FSCTL_SET_SPARSE = 0x0009_00c4,
        FSCTL_SET_ZERO_DATA = 0x0009_80c8,
        FSCTL_QUERY_ALLOCATED_RANGES = 0x0009_40cf,
        FSCTL_READ_FILE_USN_DATA = 0x0009_00eb,
        FSCTL_WRITE_USN_CLOSE_RECORD = 0x0009_00ef,
        FSCTL_FILE_LEVEL_TRIM = 0x0009_8208,
        FSCTL_OFFLOAD_READ = 0x0009_4264,
        FSCTL_OFFLOAD_WRITE = 0x0009_8268,
        FSCTL_GET_INTEGRITY_INFORMATION = 0x0009_027c,
        FSCTL_SET_INTEGRITY_INFORMATION = 0x0009_c280,
        FSCTL_QUERY_FILE_REGIONS = 0x0009_0284,
        FSCTL_DUPLICATE_EXTENTS_TO_FILE = 0x0009_8344,
        FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX = 0x0009_83e8,
        FSCTL_DFS_GET_REFERRALS_EX = 0x0006_01b0,
        FSCTL_PIPE_PEEK = 0x0011_400c,
        FSCTL_PIPE_WAIT = 0x0011_0018,
        FSCTL_PIPE_TRANSCEIVE = 0x0011_c017,
        FSCTL_LMR_REQUEST_RESILIENCY = 0x0014_01d4,
        FSCTL_QUERY_NETWORK_INTERFACE_INFO = 0x0014_01fc,
        FSCTL_VALIDATE_NEGOTIATE_INFO = 0x0014_0204,
        FSCTL_SRV_ENUMERATE_SNAPSHOTS = 0x0014_4064,
        FSCTL_SRV_REQUEST_RESUME_KEY = 0x0014_0078,
        FSCTL_SRV_COPYCHUNK = 0x0014_40f2,
        FSCTL_SRV_COPYCHUNK_WRITE = 0x0014_80f2,
        FSCTL_SRV_READ_HASH = 0x0014_41bb,
    }
}

impl IoctlRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 57, "IOCTL request")?;
        r.skip(2)?;
        let ctl_code = CtlCode(r.u32()?);
        let file_id = FileId::decode(&mut r)?;
        let input = (r.u32()?, r.u32()?);
        let max_input_response = r.u32()?;
        let output = (r.u32()?, r.u32()?);
        let max_output_response = r.u32()?;
        let flags = IoctlFlags::from_bits_retain(r.u32()?);
        r.skip(4)?;
        let input = r.window(input.0, input.1)?.to_vec();
        // MS-SMB2 2.2.31: a request has no output; one that says so must at least say it
        // truthfully.
        r.window(output.0, output.1)?;
        Ok(Self { ctl_code, file_id, max_input_response, max_output_response, flags, input })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(57);
        w.put_u16(0);
        w.put_u32(self.ctl_code.0);
        self.file_id.encode(w);
        let (offset, count) = (w.reserve_u32(), w.reserve_u32());
        w.put_u32(self.max_input_response);
        w.put_u64(0);
        w.put_u32(self.max_output_response);
        w.put_u32(self.flags.bits());
        w.put_u32(0);
        w.attach_if_any(offset, count, &self.input);
        w.pad_if_empty(&self.input);
    }
}

impl IoctlResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 49, "IOCTL response")?;
        r.skip(2)?;
        let ctl_code = CtlCode(r.u32()?);
        let file_id = FileId::decode(&mut r)?;
        let input = (r.u32()?, r.u32()?);
        let output = (r.u32()?, r.u32()?);
        let flags = r.u32()?;
        r.skip(4)?;
        let input = r.window(input.0, input.1)?.to_vec();
        let output = r.window(output.0, output.1)?.to_vec();
        Ok(Self { ctl_code, file_id, flags, input, output })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(49);
        w.put_u16(0);
        w.put_u32(self.ctl_code.0);
        self.file_id.encode(w);
        let (input_offset, input_count) = (w.reserve_u32(), w.reserve_u32());
        let (output_offset, output_count) = (w.reserve_u32(), w.reserve_u32());
        w.put_u32(self.flags);
        w.put_u32(0);
        w.attach(input_offset, input_count, &self.input);
        w.align(8);
        w.attach(output_offset, output_count, &self.output);
    }
}
