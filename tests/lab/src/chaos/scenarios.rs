//! The scenarios, in the order of their numbers.

use super::{Scenario, left, staged};

/// Every failure that a cluster on AWS must survive, with the tests that stage it.
pub const SCENARIOS: [Scenario; 50] = [
    staged(
        1,
        "A peer's kernel panics",
        "The heir takes over within the detection time, restarts it, and hands its routes back.",
        &["s01_peer_kernel_panic_is_covered_repaired_and_handed_its_routes_back"],
    ),
    staged(
        2,
        "A peer hangs; its network card still answers pings",
        "The heir takes over after `daemon_grace`, and does not stop it.",
        &["s02_hung_peer_whose_kernel_answers_pings_is_covered_and_not_stopped"],
    ),
    staged(
        3,
        "A peer's monitor is dead, but its NAT forwards",
        "No packet is lost: its routes move after `daemon_grace`, and it is not stopped.",
        &["s03_peer_monitor_dead_costs_no_packet_and_no_stop"],
    ),
    staged(
        4,
        "A peer forwards, but has lost its uplink",
        "It reports that, and the heir takes over at once. It is not stopped.",
        &["s04_nat_without_internet_is_relieved_and_not_stopped"],
    ),
    staged(
        5,
        "Packets are lost in one direction between two nodes",
        "No node is stopped, and every private host is served.",
        &["s05_loss_in_one_direction_stops_nobody_and_costs_no_packet"],
    ),
    staged(
        6,
        "Two healthy nodes cannot reach each other at all",
        "No node is stopped, each serves its own home group, and an alert stands.",
        &[
            "s06_partition_of_two_healthy_nats_stops_nobody_and_is_told",
            "lab_three::a_third_node_vouches_for_two_that_cannot_hear_each_other",
        ],
    ),
    staged(
        7,
        "ICMP between the nodes is blocked",
        "Nothing moves and no node is stopped; a failure still causes a takeover.",
        &["s07_blocked_icmp_moves_nothing_and_a_failure_is_still_covered"],
    ),
    staged(
        8,
        "The heartbeat port is blocked",
        "No node is stopped, no packet is lost, and an alert stands.",
        &["s08_blocked_heartbeats_stop_nobody_cost_no_packet_and_are_told"],
    ),
    staged(
        9,
        "A node's own uplink is lost",
        "It takes nothing and stops no node, whatever it sees of its peers.",
        &[
            "s09_node_whose_uplink_is_lost_takes_nothing_from_a_dead_peer_and_stops_nobody",
            "lab_failover::nothing_moves_while_no_nat_has_an_uplink",
        ],
    ),
    staged(
        10,
        "A node's interface is detached, or EC2's source/dest check is switched on",
        "It switches the check off. If it cannot forward, it takes nothing; the heir takes over.",
        &[
            "s10_node_whose_forwarding_interface_is_detached_is_relieved_and_takes_nothing",
            "s10_source_dest_check_that_cannot_be_switched_off_has_the_node_relieved",
            "lab_setup::what_drifts_is_made_right_again_while_the_peer_takes_nothing",
        ],
    ),
    staged(
        11,
        "EC2's API is down for all nodes",
        "No packet is lost and nothing changes; a takeover follows once the API works.",
        &[
            "s11_api_down_for_all_costs_no_packet_and_a_failure_is_covered_when_it_is_back",
            "s11_api_with_every_kind_of_failure_never_moves_a_working_route",
        ],
    ),
    staged(
        12,
        "EC2's API is down for the heir alone",
        "It retries within bounds, and the next heir takes over.",
        &["s12_api_down_for_the_heir_lets_the_next_heir_step_in"],
    ),
    staged(
        13,
        "EC2 throttles",
        "Calls are spaced out, writes go first, and the takeover ends once EC2 permits it.",
        &["s13_throttled_calls_are_spaced_out_until_the_takeover_goes_through"],
    ),
    staged(
        14,
        "EC2 denies the change of a route",
        "natha retries rarely, reports the reason, and takes over once EC2 permits it.",
        &["s14_denied_write_is_asked_for_rarely_and_its_reason_is_told"],
    ),
    staged(
        15,
        "EC2 returns old routes after a write",
        "The node does not fight its own write.",
        &["s15_old_reads_after_a_write_are_not_fought"],
    ),
    staged(
        16,
        "A write is applied, but its reply is lost",
        "The node decides on another write only after it has read the table. A request without a \
         reply is sent once more after 1 s.",
        &["s16_write_without_an_answer_is_read_back_before_it_is_repeated"],
    ),
    staged(
        17,
        "All nodes boot at once",
        "They observe first, no node is stopped, and every route ends at its home.",
        &["s17_nodes_that_boot_at_once_stop_nobody_and_end_with_every_route_at_its_home"],
    ),
    staged(
        18,
        "A node boots while its peer holds its routes",
        "It takes nothing; the holder hands its routes back without a lost packet.",
        &["s18_node_that_boots_takes_nothing_and_is_handed_its_routes_without_a_lost_packet"],
    ),
    staged(
        19,
        "The wall clock jumps",
        "Nothing changes; a failure still causes a takeover.",
        &["s19_clock_jump_changes_nothing_and_a_failure_is_covered_at_once"],
    ),
    staged(
        20,
        "A node freezes for longer than the detection time, then continues",
        "It reads the routes before it writes anything.",
        &["s20_frozen_node_writes_nothing_after_its_thaw_before_it_has_read"],
    ),
    staged(
        21,
        "The instance metadata service is down",
        "Nothing changes; a failure still causes a takeover.",
        &["s21_metadata_down_changes_nothing_and_a_failure_is_still_covered"],
    ),
    staged(
        22,
        "Credentials expire",
        "They are renewed before a takeover needs them.",
        &["s22_credentials_that_end_are_replaced_before_a_takeover_needs_them"],
    ),
    staged(
        23,
        "A person points a route outside the cluster",
        "natha leaves it alone and reports it.",
        &["s23_route_that_a_person_leads_out_of_the_cluster_is_respected_and_told"],
    ),
    staged(
        24,
        "A person deletes a route",
        "natha creates it again.",
        &["s24_deleted_route_is_made_again_and_a_misplaced_one_handed_back"],
    ),
    staged(
        25,
        "A route is a blackhole",
        "Its group is taken at once; a takeover does not wait for a blackhole.",
        &["s25_blackhole_is_filled_and_a_takeover_does_not_wait_for_one"],
    ),
    staged(
        26,
        "A peer is terminated",
        "The heir takes and keeps its routes, and does not try to start it.",
        &["s26_terminated_peer_is_covered_and_never_started"],
    ),
    staged(
        27,
        "A replacement has a new id and the same tags",
        "natha finds it by its tags and hands the routes back to it.",
        &["s27_replacement_with_a_new_id_gets_the_routes_of_the_terminated_one"],
    ),
    staged(
        28,
        "A person stops a node",
        "The heir takes over, and leaves it stopped until a person starts it.",
        &["s28_nat_that_a_person_stops_is_covered_left_stopped_and_back_when_started"],
    ),
    staged(
        29,
        "A stop or a start gets stuck",
        "Its routes are taken. The wait is bounded: a stop is then forced, and an alert stands.",
        &["s29_stop_that_hangs_is_forced", "s29_start_that_hangs_is_covered_and_alerted"],
    ),
    staged(
        30,
        "EC2 has no capacity to start the peer",
        "Its routes stay taken, and natha retries the start later.",
        &["s30_lack_of_capacity_is_waited_out_without_a_second_stop"],
    ),
    staged(
        31,
        "All nodes fail",
        "The first that recovers takes all groups; until then nothing moves.",
        &["s31_first_of_all_failed_nodes_to_return_serves_all"],
    ),
    staged(
        32,
        "A node flaps",
        "Each hand-back waits longer, up to a limit; an operator can disable it.",
        &[
            "s32_flapping_node_waits_longer_for_its_routes_each_time",
            "lab_config::tags_of_the_instances_set_what_the_file_does_not",
        ],
    ),
    staged(
        33,
        "The network between the nodes loses packets",
        "Nothing moves and no node is stopped; if no packet arrives, a takeover follows.",
        &["s33_lossy_network_moves_nothing_and_a_dead_one_is_lost_all_the_same"],
    ),
    staged(
        34,
        "A node is starved of CPU time",
        "It finds itself unfit, takes nothing, and the heir takes over without a lost packet.",
        &["s34_starved_node_doubts_itself_and_is_relieved"],
    ),
    staged(
        35,
        "The kernel kills the monitor for lack of memory",
        "It restarts, reads, and continues.",
        &["s35_monitor_killed_for_lack_of_memory_is_back_at_once_and_costs_nothing"],
    ),
    staged(
        36,
        "The disk is full or read-only",
        "Takeover, repair and hand-back still work; a note that cannot be written is alerted.",
        &[
            "s36_node_with_a_read_only_disk_takes_over_and_repairs",
            "s36_node_with_a_full_disk_takes_over_and_repairs",
        ],
    ),
    staged(
        37,
        "The monitor is killed during a takeover, a repair or a hand-back",
        "After its restart, the result is the same.",
        &[
            "s37_monitor_killed_again_and_again_while_it_takes_over_still_does",
            "s37_monitor_killed_when_it_has_stopped_its_peer_starts_it",
            "s37_monitor_killed_while_its_peer_is_off_starts_it",
            "s37_monitor_killed_while_its_peer_boots_hands_back",
            "s37_monitors_killed_during_a_hand_back_finish_it",
        ],
    ),
    staged(
        38,
        "Calls begin to fail when half of the tables have moved",
        "The rest moves once calls work again; nothing is rolled back.",
        &["s38_half_moved_group_stays_moved_and_is_completed"],
    ),
    staged(
        39,
        "The Elastic IP has moved, but the route has not",
        "The moved part stays and serves; this heir or the next completes the move.",
        &[
            "s39_half_of_a_group_waits_for_the_other_half_over_a_restart_too",
            "s39_holder_of_one_half_that_dies_leaves_it_to_the_next_with_the_other",
        ],
    ),
    staged(
        40,
        "The conntrack table fills up",
        "An alert stands; natha does not move the load.",
        &["s40_table_of_connections_that_fills_up_is_alerted_and_moves_nothing"],
    ),
    left(
        41,
        "Only some flows are synchronised to the heir",
        "The takeover continues, and the lost flows are counted.",
        "`tests/lab_flows.rs` stages what survives with replication and without",
    ),
    left(
        42,
        "The ports of an address are exhausted",
        "An alert stands, and nothing fails over.",
        "`tests/lab_ports.rs` stages it",
    ),
    staged(
        43,
        "Two nodes want to stop each other",
        "At most one of them is ever stopped, and the other serves.",
        &["s43_two_nodes_that_judge_each_other_failed_in_turns_never_stop_both"],
    ),
    staged(
        44,
        "The nodes' settings differ",
        "They take over from each other and report the difference; no node is stopped.",
        &["s44_nodes_with_different_settings_cover_for_each_other_and_stop_nobody"],
    ),
    staged(
        45,
        "Heartbeats are forged or replayed",
        "natha counts them, and they change nothing.",
        &[
            "s45_replayed_heartbeats_do_not_keep_a_dead_peer_alive",
            "lab_config::a_shared_key_authenticates_and_forged_packets_do_not_count",
        ],
    ),
    staged(
        46,
        "A whole zone fails",
        "A node in another zone takes over, though EC2 returns no state of the failed ones.",
        &["s46_failed_zone_is_covered_while_ec2_tells_nothing_of_its_instances"],
    ),
    staged(
        47,
        "AWS announces an interruption",
        "The node hands its groups over before that, without a lost packet.",
        &[
            "s47_spot_notice_relieves_a_nat_before_it_is_ended",
            "s47_scheduled_event_relieves_a_nat_shortly_before_and_until_it_is_over",
        ],
    ),
    staged(
        48,
        "API calls hang",
        "Heartbeats and decisions continue.",
        &["s48_hanging_calls_delay_no_heartbeat_and_no_verdict"],
    ),
    staged(
        49,
        "The DNS resolver is down",
        "A failure still causes a takeover.",
        &["s49_takeover_needs_no_resolver"],
    ),
    staged(
        50,
        "Two nodes have the virtual IP",
        "The node that does not hold it removes it, or reports it if natha did not add it.",
        &[
            "s50_address_that_a_killed_monitor_left_is_removed_where_the_group_is_not_held",
            "s50_address_that_a_person_put_on_another_node_is_told_and_gets_no_packet",
        ],
    ),
];
