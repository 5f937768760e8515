use super::*;

#[test]
fn pool_settings_are_bounded() {
    let pool = |bytes, fields| {
        let (response_head_bytes, response_fields) = (Some(bytes), Some(fields));
        ResponseLimits::from(&settings::Pool { response_head_bytes, response_fields, ..Default::default() })
    };
    assert_eq!(
        pool(u32::MAX, u32::MAX),
        ResponseLimits { bytes: ResponseLimits::MAX_BYTES, fields: MAX_FIELDS }
    );
    assert_eq!(ResponseLimits::from(&settings::Pool::default()), ResponseLimits::default());
}
