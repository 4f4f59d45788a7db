//! The messages in the JSON of protobuf, as grpcurl and Envoy print them.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use thiserror::Error;

use super::v1::ExplainResponse;

/// Why a text is no CheckRequest, or a message could not be written.
#[derive(Debug, Error)]
pub enum JsonError {
    /// The descriptors that were compiled in do not fit together.
    #[error("descriptors: {0}")]
    Descriptors(String),
    /// Of which only the place is told: the text holds credentials.
    #[error("not a CheckRequest in JSON: line {0}, column {1}")]
    Json(usize, usize),
}

/// An encoded CheckRequest.
///
/// # Errors
/// The text is no JSON, or has something that a CheckRequest has not.
pub fn check_request_of_json(text: &str) -> Result<Bytes, JsonError> {
    let descriptor = descriptor("envoy.service.auth.v3.CheckRequest")?;
    let mut json = serde_json::Deserializer::from_str(text);
    let options = DeserializeOptions::new();
    let message = DynamicMessage::deserialize_with_options(descriptor, &mut json, &options);
    let message = message.and_then(|message| json.end().map(|()| message));
    let message = message.map_err(|error| JsonError::Json(error.line(), error.column()))?;
    Ok(message.encode_to_vec().into())
}

/// An explanation, with field names as they stand in explain.proto.
///
/// # Errors
/// None that this program could cause.
pub fn json_of(response: &ExplainResponse) -> Result<serde_json::Value, JsonError> {
    let mut message = DynamicMessage::new(descriptor("countersign.v1.ExplainResponse")?);
    let merged = message.transcode_from(response);
    merged.map_err(|error| JsonError::Descriptors(error.to_string()))?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let json = message.serialize_with_options(serde_json::value::Serializer, &options);
    json.map_err(|error| JsonError::Descriptors(error.to_string()))
}

fn descriptor(name: &str) -> Result<MessageDescriptor, JsonError> {
    let mut pool = DescriptorPool::new();
    for set in [crate::envoy::FILE_DESCRIPTOR_SET, super::FILE_DESCRIPTOR_SET] {
        pool.decode_file_descriptor_set(set).map_err(|error| JsonError::Descriptors(error.to_string()))?;
    }
    pool.get_message_by_name(name).ok_or_else(|| JsonError::Descriptors(format!("no {name}")))
}
