//! The engine's suite: what holds for every page source. Each backend's test file names its backends and runs all of
//! it on each, with [`suite!`].
#![forbid(unsafe_code)]
#![expect(unreachable_pub, reason = "a test exports nothing, and its modules use each other")]

pub mod api;
pub mod bulk;
pub mod compact;
pub mod cursors;
pub mod limits;
pub mod model;
pub mod opening;
pub mod reuse;
pub mod savepoints;
pub mod snapshots;
pub mod tables;
pub mod threads;
pub mod transactions;
pub mod values;

use bifold::testing::Stepper;
use bifold::{Builder, Db, PageSource};
use bifold_page_source::MemFs;
use std::path::Path;
use std::sync::Arc;

/// A page source with options of its own.
pub trait Backend: 'static {
    /// What reaches the pages.
    type Source: PageSource;

    /// Its options, for pages of this many bytes; the defaults, unless said otherwise.
    fn options(_page_size: usize) -> <Self::Source as PageSource>::Options {
        Default::default()
    }
}

/// The open database of a backend.
pub type DbOf<B> = Db<<B as Backend>::Source>;

/// Where a database lies in the file systems of tests.
pub const PATH: &str = "/db";

/// Options as most tests want them: small pages, in memory.
pub fn builder<B: Backend>(fs: &MemFs) -> Builder<B::Source> {
    builder_sized::<B>(fs, 512)
}

/// The same, with pages of another size.
pub fn builder_sized<B: Backend>(fs: &MemFs, page_size: usize) -> Builder<B::Source> {
    disk_builder::<B>(page_size).file_id(7).file_system(Arc::new(fs.clone()))
}

/// The same, over the real file system.
pub fn disk_builder<B: Backend>(page_size: usize) -> Builder<B::Source> {
    let builder = Db::<B::Source>::builder().backend(B::options(page_size));
    builder.page_size(page_size).delta_size(16 << 20).log_size(1 << 20)
}

/// A database of its own.
pub fn fresh<B: Backend>() -> DbOf<B> {
    open::<B>(&MemFs::new())
}

/// The same, with background work done at once by whoever calls for it: where a test counts what is left.
pub fn settled<B: Backend>() -> DbOf<B> {
    builder::<B>(&MemFs::new()).background(Stepper::at_once()).open(PATH).unwrap()
}

/// The database in `fs`.
pub fn open<B: Backend>(fs: &MemFs) -> DbOf<B> {
    builder::<B>(fs).open(PATH).unwrap()
}

/// What a crash now would leave, if everything written so far were on the disk.
pub fn copy(fs: &MemFs) -> MemFs {
    let files = fs.paths().into_iter().map(|path| {
        let bytes = fs.read_file(&path).unwrap();
        (path, bytes)
    });
    MemFs::from_files(files).unwrap()
}

/// Whether the database's file is all there is: a closed database has no log.
pub fn is_one_file(fs: &MemFs) -> bool {
    fs.paths() == [Path::new(PATH)]
}

/// Checks everything.
#[track_caller]
pub fn assert_clean<S: PageSource>(db: &Db<S>) {
    let report = db.check().unwrap();
    assert!(report.is_clean(), "{:#?} and {} more", report.faults, report.faults_omitted);
}

/// A value of `len` bytes that tells where each of its bytes belongs.
pub fn bytes(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8) ^ ((i >> 8) as u8).wrapping_mul(31) ^ salt).collect()
}

/// Runs every test of the suite on one backend, which is named at the root of the test crate.
macro_rules! suite {
    ($backend:ident) => {
        suite!(@ $backend:
            api {
                entries_are_found_changed_and_removed
                bounds_of_all_kinds_give_what_a_sorted_map_gives
                prefixes_end_where_they_should
                scans_meet_in_the_middle
                many_keys_at_once
                ranks_and_places
                empty_keys_and_empty_values
                keys_up_to_the_limit_and_no_longer
                appending_keeps_order
                ranges_are_removed_exactly
                both_ends_are_popped
                every_page_size
                in_memory
                statistics_of_writing_add_up
            }
            bulk {
                loads_of_all_sizes_give_a_sorted_map
                loads_go_behind_what_is_there
                keys_and_values_of_all_kinds_are_loaded
                what_is_not_in_order_is_refused
                a_load_that_is_not_finished_leaves_nothing
                an_aborted_load_gives_all_space_back
                a_loaded_table_changes_in_the_same_transaction
                savepoints_around_loads
                two_loads_side_by_side
                a_load_is_far_larger_than_the_delta
                a_small_load_goes_to_the_log
                a_load_fills_free_space
                an_old_reader_does_not_see_a_load
                loads_into_a_database_in_memory
                a_full_disk_ends_a_load
            }
            compact {
                random_overwrites_for_ever
                a_reader_pins_what_it_sees_and_no_more
                the_end_of_the_file_is_given_back_without_closing
                a_copy_has_all_and_no_more
                copies_of_other_shapes
                a_file_in_disorder_becomes_short
                a_compact_file_stays_as_it_is
                a_full_file_in_disorder_does_not_grow
                large_values_move_to_the_front
                a_stuck_reader_ends_a_compaction
                compacting_other_databases
                others_write_and_read_meanwhile
                whoever_has_a_transaction_open_does_not_wait_for_a_compaction
                a_copy_leaves_alone_what_lies_beside_its_name
            }
            cursors {
                a_cursor_moves_both_ways_and_turns_at_the_ends
                a_cursor_keeps_its_place_while_the_table_changes
                a_cursor_changes_what_it_stands_on
                a_scan_goes_on_while_the_table_changes
            }
            limits {
                a_transaction_larger_than_the_delta_spills
                a_spilled_transaction_that_is_dropped_leaves_nothing
                savepoints_reach_over_spills
                a_transaction_too_large_for_the_log_commits_by_checkpoint
                values_too_large_for_the_log
                options_out_of_bounds_are_refused
                a_full_disk_aborts_one_transaction
            }
            model {
                random_operations_agree_with_a_sorted_map
                tall_trees_agree_with_a_sorted_map
                large_values_agree_with_a_sorted_map
                transactions_without_room_fail_as_a_whole
            }
            opening {
                a_closed_database_is_one_file
                dropping_closes
                an_unclean_close_is_recovered
                reading_only_writes_nothing
                reading_only_sees_what_the_log_holds
                a_second_opening_is_locked_out
                creating_and_existing
                a_file_that_is_no_database
                reopening_keeps_everything
                on_a_disk
                a_read_transaction_may_outlive_the_handle
            }
            reuse {
                rewriting_for_ever_does_not_grow_the_file
                values_taken_while_rewriting_hold_nothing_back
                an_abort_after_rewriting_leaves_nothing
                rewriting_after_a_savepoint
                many_savepoints_while_rewriting
                guards_keep_what_they_show
                guards_keep_what_a_rollback_undid
                a_forgotten_guard_holds_back_until_the_end
                cleared_and_filled_again_and_again
                large_values_replaced_in_one_transaction
                large_values_rolled_back_again_and_again
                random_transactions_larger_than_the_delta
            }
            savepoints {
                a_savepoint_brings_everything_back
                nested_savepoints
                savepoints_that_are_no_longer_valid
                tables_opened_since_a_savepoint
                tables_dropped_and_made_since_a_savepoint
                large_values_and_savepoints
                what_a_rollback_undid_is_not_recovered
            }
            snapshots {
                a_reader_sees_one_commit
                many_stuck_readers
                a_stuck_reader_pins_only_what_it_sees
                overwriting_for_ever_does_not_grow_the_file
                forgotten_guards_break_nothing
                a_stuck_reader_and_a_dropped_table
                many_stuck_readers_do_not_break_the_deltas_bound
                large_values_under_a_stuck_reader
            }
            tables {
                tables_are_made_opened_listed_and_dropped
                ten_thousand_tables
                two_tables_side_by_side
                names_of_all_kinds
                a_table_dropped_and_made_again_is_empty
                handles_of_a_dropped_table
                tables_are_renamed
                a_rename_survives_a_crash
                empty_tables_stay
            }
            threads {
                readers_in_many_threads_beside_a_writer
                transactions_move_between_threads
                many_transactions_in_one_thread
                write_waits_for_its_turn
                waiting_for_the_writer_has_an_end
                writing_twice_in_one_thread_is_an_error
                a_forgotten_write_transaction_keeps_the_writer
                checks_run_beside_a_writer
            }
            transactions {
                commits_are_seen_and_aborts_are_not
                a_write_transaction_sees_itself
                a_wrong_argument_fails_nothing
                a_failed_change_poisons_its_transaction
                a_commit_without_changes
                commits_are_numbered
                update_and_view
                aborts_give_everything_back
            }
            values {
                values_around_every_threshold
                a_value_outlives_later_changes
                streams_read_and_seek
                large_values_are_replaced_and_removed
                a_value_of_many_mebibytes
                values_survive_checkpoint_and_reopening
            }
        );
    };
    (@ $backend:ident: $($group:ident { $($test:ident)* })*) => {
        $(mod $group {
            $(#[test]
            fn $test() {
                crate::suite::$group::$test::<crate::$backend>();
            })*
        })*
    };
}
