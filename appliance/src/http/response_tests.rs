use super::*;

#[test]
fn what_a_pool_says_is_bounded() {
    let pool = |bytes, fields| {
        let (response_head_bytes, response_fields) = (Some(bytes), Some(fields));
        Bounds::from(&settings::Pool { response_head_bytes, response_fields, ..Default::default() })
    };
    assert_eq!(pool(u32::MAX, u32::MAX), Bounds { bytes: Bounds::MAX_BYTES, fields: MAX_FIELDS });
    assert_eq!(Bounds::from(&settings::Pool::default()), Bounds::default());
}
